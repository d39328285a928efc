"""The pictures of a run: on its page, and as files for papers and slides."""

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from preftune.files.whole_file import write_whole
from preftune.report.curves import StepMark, panel_figure
from preftune.report.evaluation_pictures import calibration_figure, win_rate_figure
from preftune.report.panels import panels_of
from preftune.report.run_record import RunRecord
from preftune.report.svg import picture_style, svg_element, svg_file

__all__ = ["Picture", "curve_pictures", "evaluation_pictures", "step_marks", "write_plots"]

_DOTS_PER_INCH = 200


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A picture with what it says.

    Args:
        name: Of its files, without ending.
        title: What it shows.
        about: What to see in it.
        figure: The picture itself.
        document: The same as an SVG file.
    """

    name: str
    title: str
    about: str
    figure: Figure
    document: str

    @staticmethod
    def of(name: str, title: str, about: str, figure: Figure) -> "Picture":
        """The picture with its SVG file."""
        return Picture(name, title, about, figure, svg_file(figure))

    @property
    def element(self) -> str:
        """The picture as an element of a page."""
        return svg_element(self.document, self.title)

    def png(self) -> bytes:
        """The picture as a PNG file."""
        buffer = io.BytesIO()
        with picture_style():
            self.figure.savefig(buffer, format="png", dpi=_DOTS_PER_INCH)
        return buffer.getvalue()


def curve_pictures(run: RunRecord) -> Iterator[Picture]:
    """What the run logged, a picture for each panel."""
    marks = step_marks(run)
    for panel in panels_of(run.logs):
        yield Picture.of(panel.name, panel.title, panel.about, panel_figure(panel, run.logs, marks))


def evaluation_pictures(run: RunRecord) -> Iterator[Picture]:
    """What there is to see in the result of an evaluation."""
    found = run.evaluation
    if found is not None and found.preferences is not None and found.preferences.pairs is not None:
        yield Picture.of(
            "calibration",
            "Calibration",
            "Of the pairs on which the model is 80 % sure it should be right on 80 %: on the line. Below it is too "
            "sure, above it unsure. Bars are intervals; points are as large as they have pairs.",
            calibration_figure(found.preferences.pairs.calibration.bins),
        )
    if found is not None and len(found.win_rates) > 1:
        yield Picture.of(
            "win_rate_by_temperature",
            "Win rate by temperature",
            "Bars are intervals; the line is a tie.",
            win_rate_figure(found.win_rates),
        )


def step_marks(run: RunRecord) -> tuple[StepMark, ...]:
    """Where a rule on the run's health fired, and where the checkpoint is from that was kept."""
    steps = dict.fromkeys(finding["step"] for finding in run.findings)
    marks = [StepMark(step, "finding") for step in steps]
    return (*marks, StepMark(run.kept["step"], "kept")) if run.kept else tuple(marks)


def write_plots(folder: Path, pictures: Iterable[Picture]) -> None:
    """Write each picture as an SVG and a PNG file, in place of earlier ones.

    Args:
        folder: Where to; it is made if it is not there.
        pictures: What to write.
    Raises:
        SaveError: the folder cannot be written, or the disk is full.
    """
    for picture in pictures:
        write_whole(folder / f"{picture.name}.svg", picture.document)
        write_whole(folder / f"{picture.name}.png", picture.png())
