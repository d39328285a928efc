"""The metrics of a method, for every kind of feedback."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from preftune.losses import Method, Part
from preftune.metrics.implicit_reward import ImplicitReward
from preftune.metrics.sums import ROUNDING, MetricSums, add_squares, is_tie, preference_metrics
from preftune.training.step_values import StepValues

_MOMENTS = ("moments/margin_length", "moments/margin", "moments/length")
"""Means over pairs of margin x length difference, margin^2 and length difference^2: what a correlation is made of."""

_NUM_BINS = 10
_BIN = "moments/calibration/"
"""Prefix of the sums over the pairs of a bin of confidence."""


def add_metrics(
    metrics: MetricSums, method: Method, values: StepValues, weight: float, *, with_errors: bool = False
) -> None:
    """Add the metrics of some completions, except the loss.

    Pairs, and lists by the pairs that their scores make: implicit rewards, margins and accuracies, under the names
    that users of TRL know. Thumbs: rewards of the desirable as `rewards/chosen`, of the others as `rewards/rejected`.
    All: how far the policy is from its reference, if it has one, and the entropy where that was measured.

    Args:
        weight: 1, or 0 for a micro-batch that does not count.
        with_errors: Add what the standard errors of accuracy, margin and rewards over prompts are computed from.
    """
    if method.feedback == "demonstrations":
        metrics.add("logps/completions", values.policy, weight=weight)
    elif method.feedback == "thumbs":
        _add_thumbs(metrics, method.rewarding, values, weight, with_errors=with_errors)
    else:
        _add_pairs(metrics, method.rewarding, values, weight, with_errors=with_errors)
    num_tokens = float(values.num_tokens.sum())
    if values.reference is not None:
        distances = (values.policy - values.reference).abs()
        metrics.add("logratios/absolute", distances, weight=weight)
        metrics.add("logratios/per_token", distances, count=num_tokens, weight=weight)
    if values.entropy is not None:
        metrics.add("entropy", values.entropy, count=num_tokens, weight=weight)


def total_metrics(method: Method, means: Mapping[str, float]) -> dict[str, float]:
    """Means of metrics, with those that are made of others.

    The weighted sum of losses; the margin of thumbs; `rewards/rejected_share`, how much of the margin the fall of
    rejected answers makes; `rewards/length_correlation`, how margins go with differences of length;
    `rewards/calibration_error`, how far the probabilities of a reward model are from the shares that come true.
    """
    totals = {name: value for name, value in means.items() if not name.startswith("moments/")}
    names = [f"loss/{part.name}" for part in method.parts] if len(method.parts) > 1 else ["loss"]
    if set(names) <= means.keys():
        totals["loss"] = sum(part.weight * means[name] for part, name in zip(method.parts, names, strict=True))
    sides = ("rewards/chosen", "rewards/rejected")
    if "rewards/margins" not in totals and totals.keys() >= set(sides):
        totals["rewards/margins"] = totals[sides[0]] - totals[sides[1]]
    part = method.rewarding
    if part is not None and part.loss.reward in ("logratio", "mean_logratio") and totals.keys() >= set(sides):
        noise = part.reward_scale * ROUNDING * sum(abs(means[f"logps/{side}"]) for side in ("chosen", "rejected"))
        totals.update(_rejected_share(totals[sides[0]], totals[sides[1]], noise=noise))
    if means.keys() >= set(_MOMENTS):
        totals.update(_length_correlation(*(means[name] for name in _MOMENTS)))
    bins = [abs(value) for name, value in means.items() if name.startswith(_BIN)]
    return {**totals, "rewards/calibration_error": sum(bins)} if bins else totals


def error_metrics(method: Method, errors: Mapping[str, float]) -> dict[str, float]:
    """Standard errors under the names they are logged by; the two sides of thumbs make that of their margin."""
    found = {f"{name}_error": error for name, error in errors.items()}
    sides = [errors.get(f"rewards/{side}") for side in ("chosen", "rejected")]
    if method.feedback == "thumbs" and None not in sides:
        found["rewards/margins_error"] = math.hypot(*(side for side in sides if side is not None))
    return found


def _rejected_share(chosen: float, rejected: float, *, noise: float = 0.0) -> dict[str, float]:
    """Share of the margin that comes from rejected answers alone, in [0, 1]; nothing where neither side made any.

    Args:
        noise: Rounding error of the rewards, which is no margin.

    >>> _rejected_share(0.25, -0.75), _rejected_share(-0.5, -0.8), _rejected_share(1e-7, -1e-6, noise=1e-5)
    ({'rewards/rejected_share': 0.75}, {'rewards/rejected_share': 1.0}, {})
    """
    gain, fall = max(chosen, 0.0), max(-rejected, 0.0)
    return {"rewards/rejected_share": fall / (gain + fall)} if gain + fall > noise else {}


def _length_correlation(product: float, margin: float, length: float) -> dict[str, float]:
    """Correlation through the origin, in [-1, 1]; nothing where all margins or all differences of length are 0.

    Through the origin, because which answer is called chosen turns the sign of both: 1 says that the longer answer
    has the higher reward, in proportion, whichever the data prefer.

    >>> _length_correlation(0.5, 0.25, 4.0)
    {'rewards/length_correlation': 0.5}
    """
    scale = math.sqrt(margin * length)
    return {"rewards/length_correlation": product / scale} if scale else {}


def _add_pairs(metrics: MetricSums, part: Part | None, values: StepValues, weight: float, *, with_errors: bool) -> None:
    chosen, rejected = values.pairs.unbind(1)
    logps = values.policy
    if part is None or part.loss.reward is None:
        metrics.add("logps/chosen", logps[chosen], weight=weight)
        metrics.add("logps/rejected", logps[rejected], weight=weight)
        return
    unscaled = ImplicitReward(part.loss.reward, 1.0).unscaled(values.logps)
    found = preference_metrics(
        chosen_logratio=unscaled[chosen],
        rejected_logratio=unscaled[rejected],
        chosen_logps=logps[chosen],
        rejected_logps=logps[rejected],
        scale=part.reward_scale,
    )
    for name, value in found.items():
        if part.loss.reward == "output" and name.startswith("logps/"):
            continue
        metrics.add(name, value, weight=weight)
        if with_errors and name in ("rewards/accuracies", "rewards/margins"):
            add_squares(metrics, name, value, values.prompts[chosen], weight=weight)
    is_rounding = is_tie(unscaled[chosen] - unscaled[rejected], logps[chosen], logps[rejected])
    margin = found["rewards/margins"].masked_fill(is_rounding, 0.0)
    length = values.num_tokens[chosen] - values.num_tokens[rejected]
    for name, value in zip(_MOMENTS, (margin * length, margin.square(), length.square()), strict=True):
        metrics.add(name, value, weight=weight)
    if with_errors and part.loss.reward == "output":
        _add_calibration(metrics, margin, found["rewards/accuracies"], weight)


def _add_calibration(metrics: MetricSums, margin: Tensor, correct: Tensor, weight: float) -> None:
    """Sums of the expected calibration error: sum over bins of confidence of |sum over pairs of (correct - p)| / pairs.

    Args:
        margin: p = sigmoid(|margin|) is the confidence in the preferred completion. Shape: (pair,).
        correct: 1 if the label agrees, 0 if not. Shape: (pair,).
    """
    confidence = margin.abs().sigmoid()
    bins = ((confidence - 0.5) * 2 * _NUM_BINS).long().clamp_max(_NUM_BINS - 1)
    for index in range(_NUM_BINS):
        metrics.add(f"{_BIN}{index}", torch.where(bins == index, correct - confidence, 0.0), weight=weight)


def _add_thumbs(
    metrics: MetricSums, part: Part | None, values: StepValues, weight: float, *, with_errors: bool
) -> None:
    for side, wanted in (("chosen", 1.0), ("rejected", 0.0)):
        is_on_side = values.desirable == wanted
        metrics.add(f"logps/{side}", values.policy[is_on_side], weight=weight)
        if part is not None and part.loss.reward is not None:
            rewards = part.reward_scale * ImplicitReward(part.loss.reward, 1.0).unscaled(values.logps)
            metrics.add(f"rewards/{side}", rewards[is_on_side], weight=weight)
            if with_errors:
                own = rewards[is_on_side]
                add_squares(metrics, f"rewards/{side}", own, values.prompts[is_on_side], weight=weight)
