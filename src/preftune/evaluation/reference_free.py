"""What a model alone, without a reference, says of the completions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from preftune.data.tokens.token_group import TokenGroup
from preftune.evaluation.pair_table import PairTable, pair_indices, prompt_numbers
from preftune.losses import PolicyLogps, ReferencedLogps
from preftune.metrics.implicit_reward import ImplicitReward
from preftune.metrics.intervals import Bootstrap, FloatArray, IntArray, Interval, ratio_of, sums_by_prompt

__all__ = ["ReferenceFree", "score_reference_free"]


@dataclass(frozen=True, slots=True)
class ReferenceFree:
    """Log-probs of completions, and whether chosen ones are likelier.

    Args:
        num_completions: How many there are.
        logp: Mean log-prob of a completion. Unit: nats.
        logp_per_token: Log-prob of all completions over their number of tokens. Unit: nats.
        chosen_per_token, rejected_per_token: The same for the completions on either side of pairs; None without pairs.
        accuracy_by_sum: Share of pairs whose chosen completion has the higher log-prob; None without pairs.
        accuracy_by_mean: The same by log-prob per token.
    """

    num_completions: int
    logp: Interval
    logp_per_token: Interval
    chosen_per_token: Interval | None
    rejected_per_token: Interval | None
    accuracy_by_sum: Interval | None
    accuracy_by_mean: Interval | None


def score_reference_free(
    groups: Sequence[TokenGroup], logps: PolicyLogps | ReferencedLogps, bootstrap: Bootstrap
) -> ReferenceFree:
    """The scores of a model without a reference.

    Args:
        groups: At least one; with or without pairs.
        logps: Of all their completions, in order.
        bootstrap: How intervals are made.
    """
    rows = _Rows.of(groups, logps)
    every = torch.arange(len(logps.policy))
    chosen, rejected = pair_indices(groups).unbind(1)
    return ReferenceFree(
        num_completions=len(every),
        logp=rows.interval(bootstrap, every, rows.logps, np.ones_like(rows.logps)),
        logp_per_token=rows.interval(bootstrap, every, rows.logps, rows.num_tokens),
        chosen_per_token=rows.per_token(bootstrap, chosen),
        rejected_per_token=rows.per_token(bootstrap, rejected),
        accuracy_by_sum=_accuracy(groups, logps, ImplicitReward("logp", 1.0), bootstrap),
        accuracy_by_mean=_accuracy(groups, logps, ImplicitReward("mean_logp", 1.0), bootstrap),
    )


def _accuracy(
    groups: Sequence[TokenGroup], logps: PolicyLogps | ReferencedLogps, reward: ImplicitReward, bootstrap: Bootstrap
) -> Interval | None:
    table = PairTable.of(groups, logps, reward)
    return None if table is None else bootstrap.share(table.mean_of(table.is_right), table.num_prompts)


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Completions of all groups. Shape of all fields: (completion,)."""

    prompts: IntArray
    logps: FloatArray
    num_tokens: FloatArray

    @staticmethod
    def of(groups: Sequence[TokenGroup], logps: PolicyLogps | ReferencedLogps) -> "_Rows":
        counts = [len(group.completions) for group in groups]
        prompts = np.repeat(prompt_numbers(groups), counts)
        return _Rows(prompts, logps.policy.double().numpy(), logps.num_tokens.double().numpy())

    def per_token(self, bootstrap: Bootstrap, kept: Tensor) -> Interval | None:
        return self.interval(bootstrap, kept, self.logps, self.num_tokens) if len(kept) else None

    def interval(self, bootstrap: Bootstrap, kept: Tensor, above: FloatArray, below: FloatArray) -> Interval:
        """Sum of `above` over sum of `below`, over the completions that are kept, as often as they are named."""
        index = kept.numpy()
        prompts = np.unique(self.prompts[index], return_inverse=True)[1]
        num_prompts = int(prompts.max()) + 1
        sums = (sums_by_prompt(values[index], prompts, num_prompts) for values in (above, below))
        return bootstrap.interval(ratio_of(*sums), num_prompts)
