"""Counts of numbers, for pictures and quantiles."""

from array import array
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

_NUM_BINS = 32
_TRIMMED, _REACH = 0.005, 0.5

_Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts of numbers per bin, of one kind or several.

    Args:
        title: Name of the quantity.
        unit: Unit of the numbers, such as words.
        edges: Edges of the bins, ascending; the last bin includes its upper edge. Shape: (bin + 1,).
        counts: Counts of each kind. Shape of each: (bin,).
        is_logarithmic: True if the bins have equal width on a logarithmic scale.
        limit: A number to mark, such as the maximum length.
    """

    title: str
    unit: str
    edges: tuple[float, ...]
    counts: Mapping[str, tuple[int, ...]] = field(hash=False)
    is_logarithmic: bool = False
    limit: float | None = None


def histogram_of(
    title: str,
    unit: str,
    series: "Mapping[str, Counter[int] | array[float]]",
    *,
    is_logarithmic: bool = False,
    limit: float | None = None,
) -> Histogram | None:
    """A histogram of numbers; None without numbers.

    Args:
        title, unit, is_logarithmic, limit: As in `Histogram`. On a logarithmic scale numbers below 1 count as 1.
        series: Numbers of each kind, as counts or as values. Kinds without numbers are left out. Values far beyond 99 %
            of all are clipped into the outer bins, so that a few do not set the scale.

    >>> histogram_of("lengths", "words", {"chosen": Counter([1, 1, 2])}).counts["chosen"][0]
    2
    """
    known = {name: _values_and_weights(numbers) for name, numbers in series.items() if numbers}
    if not known:
        return None
    lowest = min(float(values.min()) for values, _ in known.values())
    highest = max(float(values.max()) for values, _ in known.values())
    edges = _edges(lowest, highest, is_logarithmic=is_logarithmic)
    counts = {name: _counted(values, weights, edges) for name, (values, weights) in known.items()}
    return Histogram(title, unit, tuple(edges), counts, is_logarithmic, limit)


def _values_and_weights(numbers: "Counter[int] | array[float]") -> tuple[_Floats, _Floats]:
    if isinstance(numbers, Counter):
        return np.array(list(numbers), dtype=np.float64), np.array(list(numbers.values()), dtype=np.float64)
    values = np.array(numbers, dtype=np.float64)
    low, high = np.quantile(values, [_TRIMMED, 1 - _TRIMMED], method="nearest")
    reach = _REACH * (high - low)
    return np.clip(values, low - reach, high + reach), np.ones_like(values)


def _edges(lowest: float, highest: float, *, is_logarithmic: bool) -> list[float]:
    if is_logarithmic:
        lowest, highest = max(lowest, 1.0), max(highest, 1.0)
    if lowest == highest:
        return [lowest - 0.5, lowest + 0.5]
    make = np.geomspace if is_logarithmic else np.linspace
    inner: list[float] = make(lowest, highest, _NUM_BINS + 1).tolist()[1:-1]
    return [lowest, *inner, highest]


def _counted(values: _Floats, weights: _Floats, edges: list[float]) -> tuple[int, ...]:
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), bins=np.array(edges), weights=weights)
    return tuple(int(count) for count in counts)


def quantile(counter: Mapping[int, int], share: float) -> int:
    """The smallest number that at least a share of all numbers do not exceed.

    >>> quantile(Counter([5, 1, 3]), 0.5)
    3
    """
    wanted, seen = share * sum(counter.values()), 0
    for number in sorted(counter):
        seen += counter[number]
        if seen >= wanted:
            return number
    raise ValueError("no numbers, so there is no quantile")
