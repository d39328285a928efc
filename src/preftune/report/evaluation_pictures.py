"""Pictures of an evaluation: calibration, and win rates over temperatures."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from preftune.evaluation.calibration import ReliabilityBin
from preftune.evaluation.win_rate import WinRate
from preftune.metrics.bootstrap import Interval
from preftune.report.colours import COLOURS
from preftune.report.svg import new_figure, picture_style

__all__ = ["calibration_figure", "win_rate_figure"]

_LARGEST_POINT = 90.0


def calibration_figure(bins: Sequence[ReliabilityBin]) -> Figure:
    """The reliability curve: how sure the model is, and how often it is right."""
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
        axes.set_xlabel("the model is so sure")
        axes.set_ylabel("it is right")
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
    """A bar from end to end of each interval that has ends."""
    known = [(place, found) for place, found in zip(places, estimates, strict=True) if not math.isnan(found.low)]
    if known:
        lows, highs = np.array([[found.low, found.high] for _, found in known]).T
        axes.vlines([place for place, _ in known], lows, highs, color=COLOURS["blue"].light, linewidth=1.3)


def _finish(axes: Axes, title: str) -> None:
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    axes.set_title(title, loc="left", parse_math=False)
    axes.grid(axis="y")
    axes.set_axisbelow(True)
