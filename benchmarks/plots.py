"""Pictures of results."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.results import Result, Row

__all__ = ["plot_growth", "plot_runs"]

_WIDTH, _HEIGHT = 4.2, 3.4


def plot_runs(results: Sequence[Result], path: Path) -> Path | None:
    """Pairs per second of each side, a panel per workload. None without results."""
    if not results:
        return None
    figure, axes = _panels(len(results), columns=min(3, len(results)))
    for axis, result in zip(axes, results, strict=True):
        speeds = {str(row["side"]): _number(row["pairs per second"]) for row in reversed(result.rows)}
        bars = axis.barh(list(speeds), list(speeds.values()), color=[_color(side) for side in speeds])
        axis.bar_label(bars, fmt="%.2f", padding=3)
        axis.set(title=result.workload, xlabel="pairs per second")
        axis.margins(x=0.35)
    return _saved(figure, path)


def plot_growth(results: Sequence[Result], path: Path) -> Path | None:
    """Seconds and memory against what grows, a panel each. None without results."""
    grown = [result for result in results if result.workload.startswith("growth")]
    if not grown:
        return None
    figure, axes = _panels(2 * len(grown), columns=2)
    for index, result in enumerate(grown):
        _lines(axes[2 * index], result.rows, unit="seconds")
        _lines(axes[2 * index + 1], result.rows, unit="GiB")
    return _saved(figure, path)


def _lines(axis: Any, rows: Sequence[Row], unit: str) -> None:
    """Each way's column of this unit against the first column."""
    what = next(iter(rows[0]))
    for name in (name for name in rows[0] if name.endswith(f", {unit}")):
        points = [(_number(row[what]), _number(row[name])) for row in rows if row[name] is not None]
        if points:
            way = name.removesuffix(f", {unit}")
            axis.plot(*zip(*points, strict=True), marker="o", label=way, color=_color(way))
    axis.set(xlabel=what, ylabel=unit, xscale="log", ylim=(0, None))
    axis.set_xticks([_number(row[what]) for row in rows], [f"{row[what]:,}" for row in rows], rotation=30)
    axis.minorticks_off()
    if axis.get_legend_handles_labels()[0]:
        axis.legend(frameon=False)


def _color(side: str) -> str:
    ours = side.startswith(("preftune", "packed"))
    return "tab:blue" if ours else "tab:orange" if "fused" in side else "tab:gray"


def _number(value: str | int | float | None) -> float:
    assert isinstance(value, int | float)
    return float(value)


def _panels(count: int, *, columns: int) -> tuple[Any, list[Any]]:
    """A figure with this many panels, so many in a row."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = -(-count // columns)
    figure = Figure(figsize=(_WIDTH * columns, _HEIGHT * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for unused in axes[count:]:
        unused.remove()
    return figure, axes[:count]


def _saved(figure: Any, path: Path) -> Path:
    figure.savefig(path, dpi=110, metadata={"Software": None})
    return path
