"""The report of a run, written into its folder when a command is done with it."""

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from preftune.cli.output_files import saving

if TYPE_CHECKING:
    from preftune.report.run_page import RunReport

__all__ = ["leave_report", "write_run_report"]

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


def leave_report(folder: Path, console: Console) -> "RunReport | None":
    """The same, and say where; whatever goes wrong is said in a line, as what the run has done is worth more.

    Returns:
        The report; None if it could not be written.
    """
    try:
        report, page = write_run_report(folder)
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        _say(console, f"report: not written. {reason} `preftune report {folder}` tries again.", style="yellow")
        return None
    _say(console, f"report: {page}")
    return report


def _say(console: Console, text: str, style: str | None = None) -> None:
    console.print(text, style=style, highlight=False, markup=False, soft_wrap=True)
