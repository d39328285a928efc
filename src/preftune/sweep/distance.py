"""How far one curve of value over KL lies above another."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from preftune.metrics.intervals import FloatArray, Interval
from preftune.sweep.pooled import Pooled

__all__ = ["Curve", "Gap", "SureGap", "gap_between", "gap_of"]


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Points joined by straight lines, in the order of their KL; of points with the same KL the mean counts.

    Args:
        kls, values: Shape of both: (point,).
    """

    kls: FloatArray
    values: FloatArray

    @property
    def knots(self) -> tuple[FloatArray, FloatArray]:
        """The points in order, each KL once."""
        kls, places = np.unique(self.kls, return_inverse=True)
        sums = np.bincount(places, weights=self.values)
        return kls, sums / np.bincount(places)


@dataclass(frozen=True, slots=True)
class Gap:
    """One curve minus another where both are.

    Args:
        mean: Mean vertical distance over the KLs that both cover.
        low, high: These KLs.
    """

    mean: float
    low: float
    high: float


def gap_between(upper: Curve, lower: Curve, *, within: tuple[float, float] = (-math.inf, math.inf)) -> Gap | None:
    """The mean of `upper - lower` over the KLs that both cover, exact for lines; None where they share no range.

    mean = integral of (upper(k) - lower(k)) dk over [low, high] / (high - low)

    Args:
        upper, lower: The curves.
        within: KLs that count.

    >>> upper = Curve(np.array([0.0, 2.0]), np.array([0.0, 4.0]))
    >>> lower = Curve(np.array([1.0, 3.0]), np.array([1.0, 1.0]))
    >>> gap_between(upper, lower)  # 2 - 1 at k = 1, 4 - 1 at k = 2
    Gap(mean=2.0, low=1.0, high=2.0)
    """
    (own_kls, own_values), (other_kls, other_values) = upper.knots, lower.knots
    low, high = max(own_kls[0], other_kls[0], within[0]), min(own_kls[-1], other_kls[-1], within[1])
    if not low < high:
        return None
    inside = [kl for kl in (*own_kls, *other_kls) if low < kl < high]
    places = np.unique([low, *inside, high])
    heights = np.interp(places, own_kls, own_values) - np.interp(places, other_kls, other_values)
    return Gap(float(np.trapezoid(heights, places) / (high - low)), float(low), float(high))


@dataclass(frozen=True, slots=True)
class SureGap:
    """The same with how sure it is.

    Args:
        mean: With its interval.
        low, high: The KLs it is over.
    """

    mean: Interval
    low: float
    high: float


def gap_of(
    upper: Sequence[Pooled],
    lower: Sequence[Pooled],
    confidence: float,
    *,
    within: tuple[float, float] = (-math.inf, math.inf),
) -> SureGap | None:
    """The gap between two curves of measured points, with its interval; None where they share no range of KL.

    Both KL and value of all points are resampled together, prompt by prompt where the prompts are the same.

    Args:
        upper, lower: The points of either curve.
        confidence: How often the interval is to hold the true gap.
        within: KLs that count.
    """
    if min(len(upper), len(lower)) < 2:
        return None
    found = gap_between(_curve(upper), _curve(lower), within=within)
    if found is None:
        return None
    count = len(upper[0].kl_draws)
    drawn = [gap_between(_curve(upper, number), _curve(lower, number), within=within) for number in range(count)]
    gaps = np.array([gap.mean for gap in drawn if gap is not None])
    low, high, spread = math.nan, math.nan, math.nan
    if len(gaps) > 1:
        low, high = np.quantile(gaps, [(1 - confidence) / 2, (1 + confidence) / 2])
        spread = gaps.std(ddof=1)
    prompts = min(item.value.num_prompts for item in (*upper, *lower))
    return SureGap(Interval(found.mean, float(low), float(high), float(spread), prompts), found.low, found.high)


def _curve(points: Sequence[Pooled], number: int | None = None) -> Curve:
    """Through the points as estimated, or as in one resample."""
    if number is None:
        kls, values = [item.kl.value for item in points], [item.value.value for item in points]
    else:
        kls, values = [item.kl_draws[number] for item in points], [item.value_draws[number] for item in points]
    return Curve(np.array(kls), np.array(values))
