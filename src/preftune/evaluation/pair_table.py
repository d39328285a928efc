"""Pairs of many groups as columns of numbers."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from math import nan

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from preftune.data.tokens.token_group import TokenGroup
from preftune.losses import PolicyLogps, ReferencedLogps
from preftune.metrics.implicit_reward import ImplicitReward
from preftune.metrics.intervals import BoolArray, FloatArray, IntArray, Statistic, ratio_of, sums_by_prompt
from preftune.metrics.sums import preference_metrics

__all__ = ["PairTable", "pair_indices", "prompt_numbers"]


@dataclass(frozen=True, slots=True, eq=False)
class PairTable:
    """What is known of each pair. Shape of all columns: (pair,).

    Args:
        prompts: Number of the pair's prompt, from 0 without a gap; groups of the same prompt are one.
        chosen_reward, rejected_reward: Implicit rewards.
        is_right: 1 where the chosen completion has the higher reward, 0 where the rejected, 0.5 for a tie.
        length_difference: Tokens of the chosen completion minus those of the rejected one.
        data_margin: How much better the chosen one is, on the data's scale; NaN where that is not known.
        sources: Where the pair comes from.
    """

    prompts: IntArray
    chosen_reward: FloatArray
    rejected_reward: FloatArray
    is_right: FloatArray
    length_difference: IntArray
    data_margin: FloatArray
    sources: npt.NDArray[np.str_]

    @staticmethod
    def of(
        groups: Sequence[TokenGroup], logps: PolicyLogps | ReferencedLogps, reward: ImplicitReward
    ) -> "PairTable | None":
        """The pairs of the groups, or None if they have none.

        Args:
            groups: With or without pairs.
            logps: Of all their completions, in order.
            reward: How completions are compared.
        """
        indices = pair_indices(groups)
        if not len(indices):
            return None
        chosen, rejected = indices.unbind(1)
        unscaled = reward.unscaled(logps)
        metrics = preference_metrics(
            chosen_logratio=unscaled[chosen],
            rejected_logratio=unscaled[rejected],
            chosen_logps=logps.policy[chosen],
            rejected_logps=logps.policy[rejected],
            scale=reward.beta,
        )
        pairs = [(number, group, pair) for number, group in zip(prompt_numbers(groups), groups, strict=True)
                 for pair in group.pairs]  # fmt: skip
        return PairTable(
            prompts=_without_gaps(np.array([number for number, _, _ in pairs])),
            chosen_reward=_numbers(metrics["rewards/chosen"]),
            rejected_reward=_numbers(metrics["rewards/rejected"]),
            is_right=_numbers(metrics["rewards/accuracies"]),
            length_difference=(logps.num_tokens[chosen] - logps.num_tokens[rejected]).numpy().astype(np.int64),
            data_margin=np.array([nan if pair.margin is None else pair.margin for _, _, pair in pairs]),
            sources=np.array([group.origin.source for _, group, _ in pairs]),
        )

    def __len__(self) -> int:
        """How many pairs there are."""
        return len(self.prompts)

    @property
    def num_prompts(self) -> int:
        """How many prompts the pairs are of."""
        return int(self.prompts.max()) + 1

    @property
    def margin(self) -> FloatArray:
        """Implicit reward of the chosen completion minus that of the rejected one."""
        return self.chosen_reward - self.rejected_reward

    def mean_of(self, values: FloatArray) -> Statistic:
        """The mean over pairs of a column, for resampling prompts."""
        sums = sums_by_prompt(values, self.prompts, self.num_prompts)
        return ratio_of(sums, sums_by_prompt(np.ones(len(self)), self.prompts, self.num_prompts))

    def only(self, kept: BoolArray) -> "PairTable":
        """The pairs that are kept, at least one."""
        columns = {item.name: getattr(self, item.name)[kept] for item in fields(self)}
        return replace(self, **{**columns, "prompts": _without_gaps(columns["prompts"])})


def pair_indices(groups: Sequence[TokenGroup]) -> Tensor:
    """Chosen and rejected completion of every pair, counted over all groups. Shape: (pair, 2)."""
    rows: list[tuple[int, int]] = []
    first = 0
    for group in groups:
        rows += [(first + pair.chosen, first + pair.rejected) for pair in group.pairs]
        first += len(group.completions)
    return torch.tensor(rows, dtype=torch.long).reshape(-1, 2)


def prompt_numbers(groups: Sequence[TokenGroup]) -> list[int]:
    """A number for each group, from 0; the same for groups with the same prompt."""
    numbers: dict[bytes, int] = {}
    return [numbers.setdefault(group.prompt.tobytes(), len(numbers)) for group in groups]


def _without_gaps(numbers: IntArray) -> IntArray:
    return np.unique(numbers, return_inverse=True)[1]


def _numbers(values: Tensor) -> FloatArray:
    return values.double().numpy()
