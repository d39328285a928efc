"""Pictures of a run and of its evaluation, for its page and as files."""

import io
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from preftune.evaluation.calibration import ReliabilityBin
from preftune.evaluation.win_rate import WinRate
from preftune.files.json_files import write_whole
from preftune.files.pictures import COLOURS, new_figure, picture_style, svg_element, svg_file
from preftune.metrics.intervals import Interval
from preftune.report.curves import StepMark, panel_figure
from preftune.report.panels import panels_of
from preftune.report.run_record import RunRecord

_LARGEST_POINT = 90.0


def calibration_figure(bins: Sequence[ReliabilityBin]) -> Figure:
    """The reliability curve: accuracy of the model over its confidence."""
    with picture_style():
        figure = new_figure()
        axes = figure.add_subplot()
        axes.plot([0.5, 1.0], [0.5, 1.0], color=COLOURS["dim"].light, linewidth=0.9, linestyle="--")
        sure = [part.confidence for part in bins]
        _points(axes, sure, [part.accuracy for part in bins])
        most = max((part.num_pairs for part in bins), default=1)
        sizes = [max(8.0, _LARGEST_POINT * part.num_pairs / most) for part in bins]
        axes.scatter(sure, [part.accuracy.value for part in bins], s=sizes, color=COLOURS["blue"].light, zorder=3)
        axes.set_xlim(0.48, 1.02)
        axes.set_ylim(-0.03, 1.03)
        axes.set_xlabel("confidence of the model")
        axes.set_ylabel("accuracy")
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
        _finish(axes, "Calibration")
    return figure


def win_rate_figure(rates: Sequence[WinRate]) -> Figure:
    """The win rate at each temperature."""
    with picture_style():
        figure = new_figure()
        axes = figure.add_subplot()
        ordered = sorted(rates, key=lambda rate: rate.temperature)
        places = [rate.temperature for rate in ordered]
        axes.axhline(0.5, color=COLOURS["dim"].light, linewidth=0.9, linestyle="--")
        axes.plot(places, [rate.rate.value for rate in ordered], color=COLOURS["blue"].light, marker="o", markersize=5)
        _points(axes, places, [rate.rate for rate in ordered])
        axes.set_ylim(-0.03, 1.03)
        axes.set_xlabel("sampling temperature")
        _finish(axes, f"Win rate against {ordered[0].against}"[:48])
    return figure


def _points(axes: Axes, places: Sequence[float], estimates: Sequence[Interval]) -> None:
    """Draw each interval that has finite ends as a bar."""
    known = [(place, found) for place, found in zip(places, estimates, strict=True) if not math.isnan(found.low)]
    if known:
        lows, highs = np.array([[found.low, found.high] for _, found in known]).T
        axes.vlines([place for place, _ in known], lows, highs, color=COLOURS["blue"].light, linewidth=1.3)


def _finish(axes: Axes, title: str) -> None:
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    axes.set_title(title, loc="left", parse_math=False)
    axes.grid(axis="y")
    axes.set_axisbelow(True)


_DOTS_PER_INCH = 200


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A picture with its title and explanation.

    Args:
        name: Name of its files, without extension.
        document: The figure as an SVG file.
    """

    name: str
    title: str
    about: str
    figure: Figure
    document: str

    @staticmethod
    def of(name: str, title: str, about: str, figure: Figure) -> "Picture":
        """The picture with its SVG file. Its PNG file takes over the layout, which costs as much as the drawing."""
        document = svg_file(figure)
        figure.set_layout_engine("none")
        return Picture(name, title, about, figure, document)

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
    """A picture for each panel of which the run logged something."""
    marks = step_marks(run)
    for panel in panels_of(run.logs):
        yield Picture.of(panel.name, panel.title, panel.about, panel_figure(panel, run.logs, marks))


def evaluation_pictures(run: RunRecord) -> Iterator[Picture]:
    """Pictures of the run's evaluation, if there is one."""
    found = run.evaluation
    if found is not None and found.preferences is not None and found.preferences.pairs is not None:
        yield Picture.of(
            "calibration",
            "Calibration",
            "Accuracy should equal confidence: on the line. Below it the model is overconfident, above underconfident. "
            "Bars are intervals; larger points hold more pairs.",
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
    """Steps of health findings, and the step of the kept checkpoint."""
    steps = dict.fromkeys(finding.step for finding in run.findings)
    marks = [StepMark(step, "finding") for step in steps]
    return (*marks, StepMark(run.kept.step, "kept")) if run.kept else tuple(marks)


def write_plots(folder: Path, pictures: Iterable[Picture]) -> None:
    """Write each picture as an SVG and a PNG file, in place of earlier ones.

    Raises:
        SaveError: the folder cannot be written, or the disk is full.
    """
    for picture in pictures:
        write_whole(folder / f"{picture.name}.svg", picture.document)
        write_whole(folder / f"{picture.name}.png", picture.png())
