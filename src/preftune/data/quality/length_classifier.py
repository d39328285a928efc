"""The best that can be told of a completion by its length alone."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from preftune.data.quality.classifier import Fitted, Judgement, fit_linear

__all__ = ["fit_by_length", "length_features"]

_NUM_BINS = 10


def length_features(lengths: NDArray[np.int64], bounds: NDArray[np.float64]) -> NDArray[np.float64]:
    """The logarithm of a length, and which of the bins between the bounds it is in. Shape: (unit, 1 + bin).

    A linear classifier on these gives any worth to any length, so it finds out that long answers are preferred, or
    short ones, or those of middling length.
    """
    bins = np.eye(len(bounds) + 1)[np.searchsorted(bounds, lengths, side="right")]
    return np.column_stack([np.log1p(lengths), bins])


def length_bounds(lengths: NDArray[np.int64]) -> NDArray[np.float64]:
    """Bounds that cut lengths into ten bins with about as many in each. Shape: (bin - 1,)."""
    return np.unique(np.quantile(lengths, np.linspace(0, 1, _NUM_BINS + 1)[1:-1]))


def fit_by_length(part: Judgement) -> Fitted:
    """The best of three on the part: the longer is better, the shorter is better, or the linear classifier."""
    candidates: list[Callable[[Any], NDArray[np.float64]]] = [fit_linear(part).scores]
    if part.labels is None:
        candidates += [_longer, _shorter]
    return max(candidates, key=lambda scores: _share_right(scores(part.features), part.labels))


def _longer(features: NDArray[np.float64]) -> NDArray[np.float64]:
    return features[:, 0]


def _shorter(features: NDArray[np.float64]) -> NDArray[np.float64]:
    return -features[:, 0]


def _share_right(scores: NDArray[np.float64], labels: NDArray[np.bool_] | None) -> float:
    signed = scores if labels is None else np.where(labels, scores, -scores)
    return float((signed > 0).mean() + (signed == 0).mean() / 2)
