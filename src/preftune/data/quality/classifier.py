"""Cross-validated classifiers, with all pairs of a prompt in one fold, and the interval of their accuracy."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from preftune.data.quality.keys import KeyArray, mixed

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

NUM_FOLDS = 5

_FEW, _REPEATS_OF_FEW = 2_000, 3

_REGULARISATION = 0.1
_MAX_ITERATIONS = 300
_Z = 1.96  # of 95 %


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Accuracy of a classifier with its 95 % interval. Guessing gives a half.

    Args:
        value: Share classified correctly, in [0, 1].
        low, high: Ends of the interval.
        num_units: Number of pairs or completions.
    """

    value: float
    low: float
    high: float
    num_units: int

    @property
    def is_above_chance(self) -> bool:
        """True if the whole interval lies above guessing."""
        return self.low > 0.5

    def __str__(self) -> str:
        percents = [f"{100 * share:.0f}" for share in (self.value, self.low, self.high)]
        return f"{percents[0]} % (95 % interval {percents[1]}-{percents[2]} %, guessing 50 %)"

    def as_measures(self) -> dict[str, float | int | str]:
        """Numbers for the report."""
        return {
            "accuracy": round(self.value, 4),
            "accuracy_low": round(self.low, 4),
            "accuracy_high": round(self.high, 4),
            "chance": 0.5,
            "num_judged": self.num_units,
        }


def clustered_accuracy(right: NDArray[np.float64], clusters: NDArray[np.uint64]) -> Accuracy:
    """Accuracy if the answers of one cluster (prompt) are not independent.

    variance  = sum over clusters of (sum of (right - share))^2 / n^2
    effective = share * (1 - share) / variance, the number of independent answers with that variance
    interval  = Wilson's, for `effective` answers

    Args:
        right: 1 for right, 0 for wrong, 0.5 for undecided. Shape: (unit,), not empty.
        clusters: Cluster of each answer. Shape: (unit,).

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
    """Mean of the accuracies on true and on false labels, so that guessing gives a half.

    Args:
        right: 1 for right, 0 for wrong. Shape: (unit,).
        labels: True label of each answer; both occur. Shape: (unit,).

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


@dataclass(frozen=True, slots=True)
class ClassifierData:
    """Input of a classifier: pairs, or completions with thumbs.

    Args:
        features: Chosen minus rejected of a pair, or those of a completion. Shape: (unit, feature).
        labels: True for desirable completions; None for pairs. Shape: (unit,).
        prompts: Key of the prompt of each unit. Shape: (unit,).
    """

    features: "csr_matrix | NDArray[np.float64]"
    labels: NDArray[np.bool_] | None
    prompts: KeyArray

    @property
    def num_units(self) -> int:
        """Number of pairs or completions."""
        return len(self.prompts)

    def part(self, is_in: NDArray[np.bool_]) -> "ClassifierData":
        """Some of the units."""
        labels = None if self.labels is None else self.labels[is_in]
        return ClassifierData(self.features[is_in], labels, self.prompts[is_in])

    def correct(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """1 for units that scores classify correctly, 0 for others, 0.5 for score 0. Shape: (unit,)."""
        signed = scores if self.labels is None else np.where(self.labels, scores, -scores)
        return np.where(signed > 0, 1.0, np.where(signed < 0, 0.0, 0.5))


Scorer = Callable[[Any], NDArray[np.float64]]
"""Features to scores; positive = predicted chosen first, or desirable."""


def cross_validated(data: ClassifierData, fit: Callable[[ClassifierData], Scorer]) -> Accuracy | None:
    """Accuracy on prompts that the classifier did not see, in five folds; up to 2,000 units averaged over three splits.

    Args:
        data: All units.
        fit: Trains a classifier on some of them.
    Returns:
        The accuracy on pairs, or the balanced accuracy on completions. None if there are too few prompts, or too few
        completions of a kind, for five folds.
    """
    num_repeats = _REPEATS_OF_FEW if data.num_units <= _FEW else 1
    rights = [_right_in_folds(data, fit, _folds(data.prompts, repeat)) for repeat in range(num_repeats)]
    known = [right for right in rights if right is not None]
    if len(known) < num_repeats:
        return None
    right = np.mean(known, axis=0)
    if data.labels is None:
        return clustered_accuracy(right, data.prompts)
    return balanced_accuracy(right, data.labels)


def _right_in_folds(
    data: ClassifierData, fit: Callable[[ClassifierData], Scorer], folds: NDArray[np.int64]
) -> NDArray[np.float64] | None:
    """Correctness of each unit, classified by a classifier of the other folds. Shape: (unit,)."""
    right = np.zeros(data.num_units)
    for fold in range(NUM_FOLDS):
        is_tested = folds == fold
        train = data.part(~is_tested)
        has_both = train.labels is None or len(set(train.labels.tolist())) == 2
        if not is_tested.any() or train.num_units < 2 or not has_both:
            return None
        tested = data.part(is_tested)
        right[is_tested] = tested.correct(fit(train)(tested.features))
    return right


def _folds(prompts: KeyArray, repeat: int) -> NDArray[np.int64]:
    """Fold of each unit: the distinct prompts are assigned in turn, in an order of their keys. Shape: (unit,)."""
    _, index = np.unique(mixed(np.full_like(prompts, repeat), prompts), return_inverse=True)
    return np.asarray(index % NUM_FOLDS, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Linear:
    """A linear classifier: its scores, and its weights. Shape of the weights: (feature,)."""

    scores: Scorer
    weights: NDArray[np.float64]


def fit_linear(data: ClassifierData) -> Linear:
    """Logistic regression with an L2 penalty; without an intercept for pairs, whose order is arbitrary."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    features, labels = data.features, data.labels
    if labels is None:
        features, labels = _flipped(features)
        model = LogisticRegression(C=_REGULARISATION, fit_intercept=False, max_iter=_MAX_ITERATIONS)
    else:
        model = LogisticRegression(C=_REGULARISATION, class_weight="balanced", max_iter=_MAX_ITERATIONS)
    # For such small products, threads of BLAS mostly wait for each other: 10 s instead of 2 s on two cores.
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(features, labels)
    return Linear(model.decision_function, np.asarray(model.coef_[0], dtype=np.float64))


def _flipped(features: Any) -> tuple[Any, NDArray[np.bool_]]:
    """Features with every other pair reversed, and their labels: a classifier needs both kinds."""
    signs = np.where(np.arange(features.shape[0]) % 2 == 0, 1.0, -1.0)
    flipped = (
        features * signs[:, None] if isinstance(features, np.ndarray) else features.multiply(signs[:, None]).tocsr()
    )
    return flipped, signs > 0
