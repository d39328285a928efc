"""`preftune report`: what became of a run, of several, or of a sweep, on one page."""

from pathlib import Path

import rich_click as click

from preftune.cli.noise import quiet_libraries
from preftune.cli.output_files import saving
from preftune.cli.output_options import output_flags
from preftune.cli.processes import main_console
from preftune.errors import OutputError

__all__ = ["command"]

_COMPARISON, _SWEEP = "report.html", "sweep.json"


@click.command("report")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=click.Path(path_type=Path))
@click.option(
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Where the page goes. Default: report.html in the folder of the run, with its pictures in plots/; of several "
    "runs, report.html in the current folder.",
)
def command(runs: tuple[Path, ...], output: Path | None, verbose: bool) -> None:
    """Show what became of a run, of several side by side, or of a sweep, on a page of its own.

    preftune report run

    preftune report run-a run-b run-c --output comparison.html

    preftune report sweep

    Training and evaluating a run write its report anyway. The page asks for nothing outside itself, so that it can be
    sent. An earlier report is replaced, any other file is not.
    """
    folders = list(runs)
    target = output if output is not None or len(folders) == 1 else Path(_COMPARISON)
    if target is not None:
        _check_target(target)
    with quiet_libraries(verbose=verbose):
        written = _write(folders, target)
    main_console().print(f"report: {written}", highlight=False, markup=False, soft_wrap=True)


command.params += output_flags()


def _write(folders: list[Path], target: Path | None) -> Path:
    from preftune.cli.run_report import write_run_report, write_sweep_report
    from preftune.report.comparison_page import compare_runs
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
    """Make sure that nothing but an earlier page is replaced."""
    from preftune.report.templates import MARK

    if path.is_dir():
        raise OutputError(f"output = {path}: is a folder. Name a file with --output.")
    if path.exists() and MARK not in path.read_text(encoding="utf-8", errors="replace")[:2000]:
        raise OutputError(
            f"output = {path}: is there already, and is no page of preftune, so it is not replaced. Name another file "
            "with --output."
        )
    if not path.parent.is_dir():
        raise OutputError(f"output = {path}: there is no folder {path.parent}. Make it, or name another file.")
