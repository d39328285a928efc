"""The report of a run or a sweep, written into its folder when a command is done with it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import track

from preftune.cli.output_files import saving

if TYPE_CHECKING:
    from preftune.report.run_page import RunReport

__all__ = ["leave_report", "leave_sweep_reports", "write_run_report", "write_sweep_report"]

_PAGE = "report.html"


def write_run_report(folder: Path) -> "tuple[RunReport, Path]":
    """Write `report.html` and `plots/` into the folder of a run, in place of earlier ones.

    Returns:
        The report, and where the page is.
    Raises:
        PreftuneError: the folder is not of a run, is damaged, or cannot be written.
    """
    from preftune.report.run_page import report_run

    report = report_run(folder)
    report.write_plots()
    with saving(folder / _PAGE) as [file]:
        file.write(report.page())
    return report, folder / _PAGE


def write_sweep_report(folder: Path) -> Path:
    """Write `report.html` into the folder of a sweep, in place of an earlier one. Returns where it is.

    Raises:
        PreftuneError: the result cannot be read, or the page not written.
    """
    from preftune.report.sweep_page import sweep_page

    page = sweep_page(folder)
    with saving(folder / _PAGE) as [file]:
        file.write(page)
    return folder / _PAGE


def leave_report(folder: Path, console: Console, *, says_where: bool = True) -> "RunReport | None":
    """`write_run_report`; whatever goes wrong is said in a line, as what the run has done is worth more.

    Args:
        folder: Of the run.
        console: Where that is said.
        says_where: Whether to say where the page is.
    Returns:
        The report; None if it could not be written.
    """
    try:
        report, page = write_run_report(folder)
    except Exception as error:
        _say_lacking(console, folder, error)
        return None
    if says_where:
        _say(console, f"report: {page}")
    return report


def leave_sweep_reports(folder: Path, runs: Sequence[str], console: Console) -> None:
    """The report of each run of a sweep, and one of the sweep; whatever goes wrong is said in a line.

    Args:
        folder: Of the sweep.
        runs: Folders in it.
        console: Where that is said, and where the page of the sweep is.
    """
    for name in track(runs, "reports", console=console, transient=True, disable=not console.is_terminal):
        leave_report(folder / name, console, says_where=False)
    try:
        _say(console, f"report: {write_sweep_report(folder)}")
    except Exception as error:
        _say_lacking(console, folder, error)


def _say_lacking(console: Console, folder: Path, error: Exception) -> None:
    reason = " ".join(str(error).split()) or type(error).__name__
    _say(console, f"report: not written. {reason} `preftune report {folder}` tries again.", style="yellow")


def _say(console: Console, text: str, style: str | None = None) -> None:
    console.print(text, style=style, highlight=False, markup=False, soft_wrap=True)
