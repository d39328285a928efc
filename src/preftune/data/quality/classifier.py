"""Can a simple classifier tell chosen from rejected? Cross-validated, with all pairs of a prompt in one fold."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from preftune.data.quality.accuracy import Accuracy, balanced_accuracy, clustered_accuracy
from preftune.data.quality.keys import KeyArray, mixed

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["Fitted", "Judgement", "Linear", "cross_validated", "fit_linear"]

NUM_FOLDS = 5

_FEW, _REPEATS_OF_FEW = 2_000, 3

_REGULARISATION = 0.1
_MAX_ITERATIONS = 300


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is to be told apart: pairs by what sets chosen apart from rejected, or completions by thumbs.

    Args:
        features: Of a pair those of chosen minus those of rejected; of a completion its own. Shape: (unit, feature).
        labels: Whether a completion is desirable; None for pairs. Shape: (unit,).
        prompts: Key of each unit's prompt. Shape: (unit,).
    """

    features: "csr_matrix | NDArray[np.float64]"
    labels: NDArray[np.bool_] | None
    prompts: KeyArray

    @property
    def num_units(self) -> int:
        """Pairs or completions."""
        return len(self.prompts)


Fitted = Callable[[Any], NDArray[np.float64]]
"""Features to scores: above 0 for pairs told right, and for completions held desirable."""


def cross_validated(judgement: Judgement, fit: Callable[[Judgement], Fitted]) -> Accuracy | None:
    """Accuracy on prompts that the classifier did not see; of few units the mean over three ways to cut the folds.

    Args:
        judgement: What is to be told apart.
        fit: Makes a classifier of a part of it.
    Returns:
        The share of pairs told right, or the balanced accuracy on completions; None where there are too few prompts,
        or too few completions of a kind, for five folds.
    """
    num_repeats = _REPEATS_OF_FEW if judgement.num_units <= _FEW else 1
    rights = [_right_in_folds(judgement, fit, _folds(judgement.prompts, repeat)) for repeat in range(num_repeats)]
    known = [right for right in rights if right is not None]
    if len(known) < num_repeats:
        return None
    right = np.mean(known, axis=0)
    if judgement.labels is None:
        return clustered_accuracy(right, judgement.prompts)
    return balanced_accuracy(right, judgement.labels)


def _right_in_folds(
    judgement: Judgement, fit: Callable[[Judgement], Fitted], folds: NDArray[np.int64]
) -> NDArray[np.float64] | None:
    """Of each unit whether it is told right by a classifier of the other folds."""
    right = np.zeros(judgement.num_units)
    for fold in range(NUM_FOLDS):
        inside = folds == fold
        if not inside.any() or not _can_be_fitted(judgement, ~inside):
            return None
        scores = fit(_part(judgement, ~inside))(judgement.features[inside])
        right[inside] = _right(scores, None if judgement.labels is None else judgement.labels[inside])
    return right


def _folds(prompts: KeyArray, repeat: int) -> NDArray[np.int64]:
    """Of each unit its fold: the distinct prompts, in an order of their keys, are dealt out in turn."""
    _, index = np.unique(mixed(np.full_like(prompts, repeat), prompts), return_inverse=True)
    return np.asarray(index % NUM_FOLDS, dtype=np.int64)


def _part(judgement: Judgement, chosen: NDArray[np.bool_]) -> Judgement:
    labels = None if judgement.labels is None else judgement.labels[chosen]
    return Judgement(judgement.features[chosen], labels, judgement.prompts[chosen])


def _can_be_fitted(judgement: Judgement, chosen: NDArray[np.bool_]) -> bool:
    return int(chosen.sum()) > 1 and (judgement.labels is None or len(set(judgement.labels[chosen].tolist())) == 2)


def _right(scores: NDArray[np.float64], labels: NDArray[np.bool_] | None) -> NDArray[np.float64]:
    signed = scores if labels is None else np.where(labels, scores, -scores)
    return np.where(signed > 0, 1.0, np.where(signed < 0, 0.0, 0.5))


@dataclass(frozen=True, slots=True)
class Linear:
    """A linear classifier: how it scores features, and its weights. Shape of the weights: (feature,)."""

    scores: Fitted
    weights: NDArray[np.float64]


def fit_linear(judgement: Judgement) -> Linear:
    """Logistic regression with an L2 penalty; without an intercept for pairs, whose order says nothing."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    features, labels = judgement.features, judgement.labels
    if labels is None:
        features, labels = _turned(features)
        model = LogisticRegression(C=_REGULARISATION, fit_intercept=False, max_iter=_MAX_ITERATIONS)
    else:
        model = LogisticRegression(C=_REGULARISATION, class_weight="balanced", max_iter=_MAX_ITERATIONS)
    # Threads of BLAS wait for each other longer than such small products take: 10 s rather than 2 s on two cores.
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(features, labels)
    return Linear(model.decision_function, np.asarray(model.coef_[0], dtype=np.float64))


def _turned(features: Any) -> tuple[Any, NDArray[np.bool_]]:
    """A classifier needs both kinds: every other pair is shown the other way round, which changes nothing else."""
    signs = np.where(np.arange(features.shape[0]) % 2 == 0, 1.0, -1.0)
    turned = (
        features * signs[:, None] if isinstance(features, np.ndarray) else features.multiply(signs[:, None]).tocsr()
    )
    return turned, signs > 0
