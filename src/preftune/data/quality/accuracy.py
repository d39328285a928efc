"""How often a classifier is right, with an interval that knows that pairs of one prompt are alike."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Accuracy", "balanced_accuracy", "clustered_accuracy"]

_Z = 1.96  # of 95 %


@dataclass(frozen=True, slots=True)
class Accuracy:
    """A share of right answers and its 95 % interval. Guessing is right half of the time.

    Args:
        value: The share, in [0, 1].
        low, high: Of the interval.
        num_units: Answers that were judged.
    """

    value: float
    low: float
    high: float
    num_units: int

    @property
    def is_above_chance(self) -> bool:
        """Whether guessing is outside the interval, below it."""
        return self.low > 0.5

    def __str__(self) -> str:
        percents = [f"{100 * share:.0f}" for share in (self.value, self.low, self.high)]
        return f"{percents[0]} % (95 % interval {percents[1]}-{percents[2]} %, guessing 50 %)"

    def as_measures(self) -> dict[str, float | int | str]:
        """For the report."""
        return {
            "accuracy": round(self.value, 4),
            "accuracy_low": round(self.low, 4),
            "accuracy_high": round(self.high, 4),
            "chance": 0.5,
            "num_judged": self.num_units,
        }


def clustered_accuracy(right: NDArray[np.float64], clusters: NDArray[np.uint64]) -> Accuracy:
    """The share of right answers where those of one cluster (prompt) are not independent.

    variance  = sum over clusters of (sum of (right - share))^2 / n^2
    effective = share * (1 - share) / variance, the number of independent answers that would vary as much
    interval  = Wilson's, for that number

    Args:
        right: 1 for right, 0 for wrong, 0.5 for undecided. Shape: (unit,), not empty.
        clusters: Of each answer its cluster. Shape: (unit,).

    >>> str(clustered_accuracy(np.array([1.0, 1.0, 1.0, 0.0]), np.arange(4, dtype=np.uint64)))
    '75 % (95 % interval 30-95 %, guessing 50 %)'
    """
    share = float(right.mean())
    _, index = np.unique(clusters, return_inverse=True)
    sums = np.bincount(index, weights=right - share)
    variance = float((sums**2).sum()) / len(right) ** 2
    spread = share * (1 - share)
    num_effective = min(spread / variance, len(right)) if variance > 0 else len(sums)
    return Accuracy(share, *_wilson(share, num_effective), num_units=len(right))


def balanced_accuracy(right: NDArray[np.float64], labels: NDArray[np.bool_]) -> Accuracy:
    """The mean of the shares of right answers among the true and among the false, so that guessing gives a half.

    Args:
        right: 1 for right, 0 for wrong. Shape: (unit,).
        labels: Of each answer the truth; both occur. Shape: (unit,).

    >>> balanced_accuracy(np.array([1.0, 1.0, 1.0, 0.0]), np.array([True, True, True, False])).value
    0.5
    """
    shares = [float(right[labels == kind].mean()) for kind in (True, False)]
    counts = [int((labels == kind).sum()) for kind in (True, False)]
    value = sum(shares) / 2
    variance = sum(share * (1 - share) / count for share, count in zip(shares, counts, strict=True)) / 4
    spread = value * (1 - value)
    num_effective = min(spread / variance, len(right)) if variance > 0 else min(counts)
    return Accuracy(value, *_wilson(value, num_effective), num_units=len(right))


def _wilson(share: float, count: float) -> tuple[float, float]:
    centre = (share + _Z**2 / (2 * count)) / (1 + _Z**2 / count)
    half = _Z * math.sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2)) / (1 + _Z**2 / count)
    return max(centre - half, 0.0), min(centre + half, 1.0)
