"""`preftune report`: the report of a run, of several runs, or of a sweep, as one page."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click
from rich.console import Console
from rich.progress import track

from preftune.cli.console import main_console, quiet_libraries
from preftune.cli.options import output_flags
from preftune.errors import OutputError
from preftune.files.outputs import check_output, saving
from preftune.files.run_files import REPORT

if TYPE_CHECKING:
    from preftune.report.run_page import RunReport


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
    with saving(folder / REPORT) as [file]:
        file.write(report.page())
    return report, folder / REPORT


def write_sweep_report(folder: Path) -> Path:
    """Write `report.html` into the folder of a sweep, in place of an earlier one. Returns where it is.

    Raises:
        PreftuneError: the result cannot be read, or the page not written.
    """
    from preftune.report.sweep_page import sweep_page

    page = sweep_page(folder)
    with saving(folder / REPORT) as [file]:
        file.write(page)
    return folder / REPORT


def leave_report(folder: Path, console: Console, *, says_where: bool = True) -> "RunReport | None":
    """`write_run_report`, except that a failure is a warning, because it must not fail a run that has trained.

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
    """Write the report of each run of a sweep, and one of the sweep. A failure is a warning."""
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


_SWEEP = "sweep.json"


@click.command("report")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=click.Path(path_type=Path))
@click.option(
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="File to write. Default: report.html in the run folder, with figures in plots/; for several runs, report.html "
    "in the current folder.",
)
def command(runs: tuple[Path, ...], output: Path | None, verbose: bool) -> None:
    """Write an HTML report of one run, of several side by side, or of a sweep.

    preftune report run

    preftune report run-a run-b run-c --output comparison.html

    preftune report sweep

    `preftune train` and `preftune eval` write the report of a run by themselves. The page is a single self-contained
    file. It replaces an earlier report, but no other file.
    """
    folders = [folder.expanduser() for folder in runs]
    output = output and output.expanduser()
    target = output if output is not None or len(folders) == 1 else Path(REPORT)
    if target is not None:
        _check_target(target)
    with quiet_libraries(verbose=verbose):
        written = _write(folders, target)
    main_console().print(f"report: {written}", highlight=False, markup=False, soft_wrap=True)


command.params += output_flags()


def _write(folders: list[Path], target: Path | None) -> Path:
    from preftune.cli.report import write_run_report, write_sweep_report
    from preftune.report.comparison import compare_runs
    from preftune.report.run_page import report_run
    from preftune.report.sweep_page import sweep_page

    is_sweep = len(folders) == 1 and (folders[0] / _SWEEP).is_file()
    if target is None:
        return write_sweep_report(folders[0]) if is_sweep else write_run_report(folders[0])[1]
    if is_sweep:
        page = sweep_page(folders[0])
    else:
        page = report_run(folders[0]).page() if len(folders) == 1 else compare_runs(folders)
    with saving(target) as [file]:
        file.write(page)
    return target


def _check_target(path: Path) -> None:
    """Check that the page may be written, and replaces nothing but an earlier page."""
    from preftune.report.page import MARK

    if path.is_file() and MARK not in path.read_text(encoding="utf-8", errors="replace")[:2000]:
        raise OutputError(
            f"output = {path}: exists already and is not a page of preftune, so it is not replaced. Name another file "
            "with --output."
        )
    check_output("output", path, overwrite=True)
