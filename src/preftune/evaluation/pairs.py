"""Pairs of many groups as columns, and accuracy on parts of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from math import nan
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from preftune.data.tokens.token_group import TokenGroup
from preftune.losses import PolicyLogps, ReferencedLogps
from preftune.metrics.implicit_reward import ImplicitReward
from preftune.metrics.intervals import (
    BoolArray,
    Bootstrap,
    FloatArray,
    IntArray,
    Interval,
    Statistic,
    ratio_of,
    sums_by_prompt,
)
from preftune.metrics.sums import preference_metrics


@dataclass(frozen=True, slots=True, eq=False)
class PairTable:
    """Rewards, lengths and sources of pairs. Shape of all columns: (pair,).

    Args:
        prompts: Number of the pair's prompt, counted from 0 without gaps. Groups with the same prompt share it.
        is_right: 1 where the chosen completion has the higher reward, 0 where the rejected, 0.5 for a tie.
        length_difference: Tokens of the chosen completion minus those of the rejected one.
        data_margin: Margin of the pair on the data's scale; NaN if unknown.
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
            logps: Log-probs of all their completions, in order.
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
        """Number of pairs."""
        return len(self.prompts)

    @property
    def num_prompts(self) -> int:
        """Number of distinct prompts."""
        return int(self.prompts.max()) + 1

    @property
    def margin(self) -> FloatArray:
        """Reward of the chosen completion minus that of the rejected one."""
        return self.chosen_reward - self.rejected_reward

    def mean_of(self, values: FloatArray) -> Statistic:
        """Mean of a column over pairs, as a function of resampled prompts."""
        sums = sums_by_prompt(values, self.prompts, self.num_prompts)
        return ratio_of(sums, sums_by_prompt(np.ones(len(self)), self.prompts, self.num_prompts))

    def only(self, kept: BoolArray) -> "PairTable":
        """The table with the kept pairs only, at least one."""
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


SliceKind = Literal["length", "source", "margin"]
"""Property that slices the pairs: difference of lengths, source, or margin of the data."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Metrics on a subset of the pairs.

    Args:
        accuracy: Share of them whose chosen completion has the higher reward.
        margin: Mean margin of the implicit reward.
    """

    kind: SliceKind
    label: str
    num_pairs: int
    accuracy: Interval
    margin: Interval


def slice_pairs(table: PairTable, bootstrap: Bootstrap) -> tuple[Slice, ...]:
    """Slices by length, by source if there are several, and by the data's margin if it is known.

    By length: chosen shorter or longer, by less or more than the median difference. By margin: terciles.
    """
    found = []
    for kind, label, chosen in _parts(table):
        if chosen.any():
            part = table.only(chosen)
            accuracy = bootstrap.share(part.mean_of(part.is_right), part.num_prompts)
            margin = bootstrap.interval(part.mean_of(part.margin), part.num_prompts)
            found.append(Slice(kind, label, len(part), accuracy, margin))
    return tuple(found)


def _parts(table: PairTable) -> Iterator[tuple[SliceKind, str, BoolArray]]:
    for label, chosen in _by_length(table):
        yield "length", label, chosen
    sources = np.unique(table.sources)
    if len(sources) > 1:
        for source in sources:
            yield "source", str(source), table.sources == source
    if not np.isnan(table.data_margin).any():
        for label, chosen in _by_margin(table):
            yield "margin", label, chosen


def _by_length(table: PairTable) -> Iterator[tuple[str, BoolArray]]:
    difference = table.length_difference
    sizes = np.abs(difference[difference != 0])
    middle = int(np.median(sizes)) if len(sizes) else 1
    small = "1" if middle == 1 else f"1-{middle}"
    yield f"chosen more than {middle} tokens shorter", difference < -middle
    yield f"chosen {small} tokens shorter", (difference < 0) & (difference >= -middle)
    yield "equally long", difference == 0
    yield f"chosen {small} tokens longer", (difference > 0) & (difference <= middle)
    yield f"chosen more than {middle} tokens longer", difference > middle


def _by_margin(table: PairTable) -> Iterator[tuple[str, BoolArray]]:
    cuts = np.unique(np.quantile(table.data_margin, [1 / 3, 2 / 3]))
    places = np.digitize(table.data_margin, cuts)
    for place in range(len(cuts) + 1):
        yield _range_text(cuts, place), places == place


def _range_text(cuts: FloatArray, place: int) -> str:
    """
    >>> [_range_text(np.array([1.0, 2.5]), place) for place in range(3)]
    ['below 1', '1 to 2.5', '2.5 and more']
    """
    if place == 0:
        return f"below {cuts[0]:.3g}"
    return f"{cuts[place - 1]:.3g} to {cuts[place]:.3g}" if place < len(cuts) else f"{cuts[-1]:.3g} and more"
