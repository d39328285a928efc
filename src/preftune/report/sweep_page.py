"""Page of a sweep: recommended point, frontier, and links to the reports of its runs."""

from pathlib import Path

from preftune.files.run_files import REPORT
from preftune.report.page import page_table, render
from preftune.report.pictures import Picture
from preftune.sweep.picture import frontier_figure
from preftune.sweep.result import SweepResult
from preftune.sweep.table import reference_line, tables_of


def sweep_page(folder: str | Path) -> str:
    """The self-contained page, with links to the reports of the runs.

    Raises:
        DataError: the folder holds no result of a sweep that can be read.
    """
    folder = Path(folder)
    result = SweepResult.read(folder)
    return render(
        "sweep.html.jinja",
        folder=folder,
        name=folder.resolve().name,
        headline=_headline(result),
        recommendation=result.recommendation,
        reference=reference_line(result),
        picture=_frontier(result),
        tables=[page_table(table) for table in tables_of(result)],
        reports=[row.name for row in result.points if (folder / row.name / REPORT).is_file()],
        evaluated=[row.name for row in result.points if row.models],
    )


def _headline(result: SweepResult) -> str:
    found = result.recommendation
    return "Unfinished: the same command continues it." if found is None else found.headline


def _frontier(result: SweepResult) -> Picture | None:
    if not any(row.models for row in result.points):
        return None
    about = (
        "Up and to the left is better. Filled: no other model has at most its KL and at least its value. Small: "
        "checkpoints, joined with their run. Bars are intervals."
    )
    return Picture.of("frontier", "Value over KL", about, frontier_figure(result))
