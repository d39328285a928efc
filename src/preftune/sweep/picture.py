"""The frontier of a sweep as a picture: value over KL, for every point and checkpoint."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from preftune.files.pictures import COLOURS, new_figure, picture_style, save_picture
from preftune.settings.sweep_sections import VALUE_TEXTS
from preftune.sweep.result import ModelRow, PointRow, Realigned, SweepResult

_OTHERS, _REALIGNED, _INK = COLOURS["dim"].dark, COLOURS["red"].light, COLOURS["text"].light
_MOST_COLOURS = 10


def write_pictures(result: SweepResult) -> Path | None:
    """Write `frontier.png` and `frontier.svg` into the sweep's folder; None if no point was evaluated."""
    if not any(row.models for row in result.points):
        return None
    folder = Path(result.folder)
    draw_frontier(result, folder / "frontier.svg")
    draw_frontier(result, folder / "frontier.png")
    return folder / "frontier.png"


def draw_frontier(result: SweepResult, picture: str | Path) -> None:
    """Draw value over KL into a PNG, SVG or PDF file. The result needs at least one model."""
    save_picture(frontier_figure(result), picture)


def frontier_figure(result: SweepResult) -> Figure:
    """Value over KL, in the style of our pages. The result needs at least one model.

    Each setting has a colour. Models on the frontier are filled, dominated ones hollow; checkpoints are small and
    joined with their run; bars are intervals; the recommended setting has a ring.
    """
    with picture_style():
        figure = new_figure((7.6, 4.4))
        axes = figure.add_subplot()
        _draw_points(axes, result)
        if result.realigned is not None:
            _draw_realigned(axes, result.realigned)
        _draw_limits(axes, result)
        axes.set_xlabel("KL to the reference (nats)")
        axes.set_ylabel(_value_label(result))
        axes.grid(alpha=0.5)
        axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1), markerscale=0.7)
    return figure


def _draw_points(axes: Axes, result: SweepResult) -> None:
    rows = [row for row in result.points if row.models]
    taken = None if result.recommendation is None else result.recommendation.name
    colours = _colours(rows)
    for setup, colour in colours.items():
        axes.scatter([], [], color=colour, s=36, label=setup)
    if len(colours) < len({row.setup for row in rows}):
        axes.scatter([], [], color=_OTHERS, s=36, label="others")
    for row in rows:
        colour = colours.get(row.setup, _OTHERS)
        axes.plot(*_places(row.models), color=colour, linewidth=0.8, alpha=0.6, zorder=1)
        for model in row.models:
            _draw_bars(axes, [model], colour, marker="o", size=7 if model is row.models[-1] else 4)
    chosen = [row.models[-1] for row in rows if row.setup == taken]
    if chosen:
        axes.scatter(
            *_places(chosen), s=190, facecolors="none", edgecolors=_INK, linewidths=1.2, zorder=4,
            label="recommended",
        )  # fmt: skip
    axes.scatter([], [], facecolors="white", edgecolors=_INK, s=36, label="hollow: dominated")


def _colours(rows: Sequence[PointRow]) -> dict[str, Any]:
    """A colour for each setting in order; if there are many, for those on the frontier alone."""
    setups = list(dict.fromkeys(row.setup for row in rows))
    if len(setups) > _MOST_COLOURS:
        on_it = {row.setup for row in rows if any(model.on_frontier for model in row.models)}
        setups = [setup for setup in setups if setup in on_it][:_MOST_COLOURS]
    places = np.linspace(0.0, 0.92, max(len(setups), 2))
    return {setup: mpl.colormaps["viridis"](place) for setup, place in zip(setups, places, strict=False)}


def _draw_realigned(axes: Axes, found: Realigned) -> None:
    models = sorted(found.models, key=lambda model: model.strength)
    axes.plot(*_places(models), color=_REALIGNED, linewidth=1.2, linestyle="--", zorder=2)
    _draw_bars(axes, models, _REALIGNED, marker="s", size=4.5, label=f"{found.name}, realigned")
    for model in models:
        axes.annotate(
            f"×{model.strength:g}", (model.kl.value, model.value.value), xytext=(-4, 7), textcoords="offset points",
            fontsize=8, color=_REALIGNED, ha="right",
        )  # fmt: skip


def _draw_limits(axes: Axes, result: SweepResult) -> None:
    if result.kl_budget is not None:
        axes.axvline(result.kl_budget, color=_INK, linestyle=":", linewidth=1, label="KL budget")
    if result.reference_value is not None:
        axes.scatter([0], [result.reference_value], marker="D", s=28, color=_INK, zorder=3, label="reference")


def _draw_bars(
    axes: Axes, models: Sequence[ModelRow], colour: Any, *, marker: str, size: float, label: str | None = None
) -> None:
    kls, values = _places(models)
    is_filled = all(model.on_frontier for model in models) or label is not None
    axes.errorbar(
        kls, values, xerr=_reach(models, "kl"), yerr=_reach(models, "value"), fmt=marker, markersize=size, color=colour,
        markerfacecolor=colour if is_filled else "white", elinewidth=0.8, zorder=3, label=label,
    )  # fmt: skip


def _places(models: Sequence[ModelRow]) -> tuple[list[float], list[float]]:
    return [model.kl.value for model in models], [model.value.value for model in models]


def _reach(models: Sequence[ModelRow], name: str) -> list[list[float]]:
    """Lengths of the bars below and above; 0 if an end is unknown."""
    found = [model.kl if name == "kl" else model.value for model in models]
    below = [max(0.0, float(np.nan_to_num(item.value - item.low))) for item in found]
    return [below, [max(0.0, float(np.nan_to_num(item.high - item.value))) for item in found]]


def _value_label(result: SweepResult) -> str:
    return " ".join(_words(result))


def _words(result: SweepResult) -> Iterator[str]:
    yield VALUE_TEXTS[result.value]
    if result.against is not None:
        yield f"against {result.against}"
    yield f"({result.confidence:.0%} intervals)"
