"""Training curves of runs as pictures."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from preftune.files.pictures import COLOURS, new_figure, picture_style
from preftune.files.run_files import METRICS
from preftune.report.panels import Curve, Panel, overview_panels
from preftune.runs.logs import Log, Series, read_logs, series_of

MANY_POINTS = 80
"""Number of points beyond which a curve is drawn with its running mean."""

_VERY_MANY_POINTS = 500
_NUM_BANDS = 200
_NUM_WINDOWS = 25

_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class StepMark:
    """A step to mark in a picture.

    Args:
        kind: First step of a health finding, or step of the kept checkpoint.
    """

    step: int
    kind: Literal["finding", "kept"]


def panel_figure(panel: Panel, logs: Sequence[Log], marks: Sequence[StepMark] = ()) -> Figure:
    """The picture of a panel for one run: training as solid lines, held-out data with a point per evaluation."""
    with picture_style():
        figure = new_figure()
        _draw_panel(figure.add_subplot(), panel, logs, marks)
    return figure


def overlaid_figure(panel: Panel, title: str, curve: Curve, series: Sequence[Series], colours: Sequence[str]) -> Figure:
    """One metric of several runs, a colour for each; the page holds the legend.

    Args:
        series: Values of each run; empty if not logged.
        colours: Colour of each run, a key of `COLOURS`.
    """
    with picture_style():
        figure = new_figure()
        axes = figure.add_subplot()
        for own, colour in zip(series, colours, strict=True):
            _draw_curve(axes, own, COLOURS[colour].light, is_held_out=curve.is_held_out)
        _finish(axes, panel)
        axes.set_title(title, loc="left", parse_math=False)
    return figure


def draw_curves(run: str | Path, picture: str | Path) -> None:
    """Draw the main metrics that a run has logged into one PNG, SVG or PDF file. Panels without a metric are left out.

    Args:
        picture: The file to write; the extension selects the format.
    Raises:
        FileNotFoundError: the folder holds no `metrics.jsonl`.
    """
    path = Path(run) / METRICS
    if not path.is_file():
        raise FileNotFoundError(f"{path}: does not exist, so there are no curves. Name the folder of a run.")
    logs = read_logs(path)
    panels = overview_panels(logs)
    with picture_style():
        figure = Figure(figsize=(3.6 * max(len(panels), 1), 2.9), layout="constrained")
        for column, panel in enumerate(panels, start=1):
            axes = figure.add_subplot(1, len(panels), column)
            _draw_panel(axes, panel, logs, ())
            axes.set_title(panel.title, loc="left", pad=_pad(4), parse_math=False)  # all titles at the same height
        figure.savefig(picture, dpi=150)


def _draw_panel(axes: Axes, panel: Panel, logs: Sequence[Log], marks: Sequence[StepMark]) -> None:
    drawn = [(curve, series) for curve in panel.curves if (series := series_of(logs, curve.metric))]
    for curve, series in drawn:
        is_held_out = curve.is_held_out
        _draw_curve(axes, series, COLOURS[curve.colour].light, is_held_out=is_held_out, label=curve.label)
        _draw_errors(axes, series, series_of(logs, curve.error_metric), COLOURS[curve.colour].light)
    for mark in marks:
        colour, style = ("red", ":") if mark.kind == "finding" else ("dim", "--")
        axes.axvline(mark.step, color=COLOURS[colour].light, linestyle=style, linewidth=1.1)
    _finish(axes, panel)
    _legend(axes, panel, len(drawn))


def _draw_curve(axes: Axes, series: Series, colour: str, *, is_held_out: bool, label: str | None = None) -> None:
    """Draw a line; for a long run, pale values with their running mean over them.

    A very long run has a pale band from the minimum to the maximum of neighbouring values instead, to keep pages small.
    """
    steps, values = np.array(series.steps, dtype=np.float64), np.array(series.values)
    if is_held_out or len(values) == 1:
        axes.plot(steps, values, color=colour, label=label, marker="o", markersize=3.6, linewidth=1.2, linestyle="--")
        return
    if len(values) > _VERY_MANY_POINTS:
        steps, lows, highs, values = _bands(steps, values)
        axes.fill_between(steps, lows, highs, color=colour, alpha=0.25, linewidth=0)
    elif len(values) > MANY_POINTS:
        axes.plot(steps, values, color=colour, linewidth=0.8, alpha=0.3)
    if len(values) > MANY_POINTS:
        values = np.array(_running_mean(values, len(values) // _NUM_WINDOWS))
    axes.plot(steps, values, color=colour, label=label, linewidth=1.6)


def _bands(steps: _Floats, values: _Floats) -> tuple[_Floats, _Floats, _Floats, _Floats]:
    """Mean step, minimum, maximum and mean of each of `_NUM_BANDS` stretches; NaN for one without finite values."""
    found = []
    for own_steps, own in zip(np.array_split(steps, _NUM_BANDS), np.array_split(values, _NUM_BANDS), strict=True):
        known = own[~np.isnan(own)]
        numbers = (known.min(), known.max(), known.mean()) if len(known) else (math.nan,) * 3
        found.append((own_steps.mean(), *numbers))
    first, second, third, fourth = np.array(found).T
    return first, second, third, fourth


def _draw_errors(axes: Axes, series: Series, errors: Series, colour: str) -> None:
    for step, value in zip(series.steps, series.values, strict=True):
        error = errors.at(step)
        if error is not None and math.isfinite(error) and math.isfinite(value):
            axes.vlines(step, value - 2 * error, value + 2 * error, color=colour, linewidth=1.1)


def _running_mean(values: _Floats, window: int) -> list[float]:
    """Mean of the last `window` values at each value, without NaN.

    >>> _running_mean(np.array([1.0, 3.0, math.nan, 5.0]), 2)
    [1.0, 2.0, 3.0, 5.0]
    """
    found = []
    for end in range(1, len(values) + 1):
        part = values[max(0, end - window) : end]
        known = part[~np.isnan(part)]
        found.append(float(known.mean()) if len(known) else math.nan)
    return found


def _finish(axes: Axes, panel: Panel) -> None:
    if panel.level is not None:
        axes.axhline(panel.level, color=COLOURS["dim"].light, linewidth=0.8, linestyle=(0, (1, 2)))
    if panel.form == "percent":
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None, symbol=" %"))
    else:
        axes.yaxis.set_major_formatter(FuncFormatter(_tick))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 5, 10]))
    axes.set_xlabel("step")
    axes.grid(axis="y")
    axes.set_axisbelow(True)


def _legend(axes: Axes, panel: Panel, count: int) -> None:
    """Title and legend, both above the curves, so that they hide none."""
    axes.set_title(panel.title, loc="left", pad=_pad(count), parse_math=False)
    if count > 1:
        axes.legend(
            loc="lower left",
            bbox_to_anchor=(-0.02, 0.97),
            ncols=2,
            borderpad=0.2,
            labelspacing=0.15,
            handlelength=1.8,
            columnspacing=1.4,
        )


def _pad(count: int) -> float:
    """Points between a picture and its title, for a legend of `count` curves in two columns.

    >>> _pad(1), _pad(3)
    (6.0, 34.0)
    """
    return 6.0 + 14.0 * (math.ceil(count / 2) if count > 1 else 0)


def _tick(value: float, _: int | None = None) -> str:
    """A number on an axis.

    >>> _tick(0.00030000000000000003), _tick(12500.0), _tick(-0.25), _tick(0.00025), _tick(1e-20)
    ('3e-4', '12,500', '-0.25', '2.5e-4', '0')
    """
    if abs(value) < 1e-15:
        return "0"
    if abs(value) < 1e-3:
        digits, exponent = f"{value:.1e}".split("e")
        return f"{digits.removesuffix('.0')}e{int(exponent)}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
