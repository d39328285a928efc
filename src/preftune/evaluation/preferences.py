"""Whether a policy prefers what people prefer, on pairs that it has not seen."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from preftune.data import TokenGroup
from preftune.evaluation.estimate import Estimate
from preftune.evaluation.logps import referenced_logps
from preftune.metrics import preference_metrics
from preftune.policy.forward import Forward
from preftune.reference import Reference

__all__ = ["PreferenceAccuracy", "preference_accuracy"]


@dataclass(frozen=True, slots=True)
class PreferenceAccuracy:
    """How a policy does on pairs.

    Args:
        accuracy: Share of pairs whose chosen completion has the higher implicit reward; a tie counts half.
        margin: Implicit reward of the chosen minus that of the rejected completion.
    """

    accuracy: Estimate
    margin: Estimate


def preference_accuracy(
    policy: nn.Module,
    reference: Reference,
    groups: Sequence[TokenGroup],
    forward: Forward,
    beta: float,
    *,
    max_tokens: int = 8192,
) -> PreferenceAccuracy:
    """Accuracy and mean margin of the implicit reward, beta * logratio, over all pairs of the groups.

    Args:
        policy: The tuned model.
        reference: What it was tuned against.
        groups: Prompts with their pairs; those without pairs count nothing.
        forward: How log-probs are computed.
        beta: Reward per nat of logratio, > 0.
        max_tokens: Memory budget of one forward.
    Returns:
        Estimates over pairs; the standard errors take pairs as independent.
    Raises:
        ValueError: no pair, a beta out of its range, or a reference that gives no log-probs.
    """
    if not beta > 0:
        raise ValueError(f"beta = {beta}: must be above 0.")
    groups = [group for group in groups if group.pairs]
    if not groups:
        raise ValueError("groups: hold no pairs, so there is nothing to be right about. Give preference data.")
    logps = referenced_logps(policy, reference, groups, forward, max_tokens=max_tokens)
    pairs = _pair_indices(groups)
    chosen, rejected = logps[pairs[:, 0]], logps[pairs[:, 1]]
    metrics = preference_metrics(
        chosen_logratio=chosen.logratio,
        rejected_logratio=rejected.logratio,
        chosen_logps=chosen.policy,
        rejected_logps=rejected.policy,
        scale=beta,
    )
    return PreferenceAccuracy(Estimate.of(metrics["rewards/accuracies"]), Estimate.of(metrics["rewards/margins"]))


def _pair_indices(groups: Sequence[TokenGroup]) -> Tensor:
    """Chosen and rejected completion of every pair, counted over all groups. Shape: (pair, 2)."""
    rows = []
    first = 0
    for group in groups:
        rows += [(first + pair.chosen, first + pair.rejected) for pair in group.pairs]
        first += len(group.completions)
    return torch.tensor(rows)
