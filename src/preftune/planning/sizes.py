"""Sizes of groups in tokens, and the work of a forward and backward on them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from preftune.data.tokens.token_group import TokenGroup
from preftune.losses import Unit

Layout = Literal["sequences", "packed"]
"""Layout of groups for the model: one padded row per completion, or one packed row for all."""


@dataclass(frozen=True, slots=True)
class GroupSize:
    """Lengths of one group, in tokens, and what it holds."""

    prompt: int
    completions: tuple[int, ...]
    num_pairs: int

    @staticmethod
    def of(group: TokenGroup) -> "GroupSize":
        """The size of `group`."""
        return GroupSize(len(group.prompt), group.completion_lengths, len(group.pairs))

    @property
    def packed_tokens(self) -> int:
        """Tokens when the prompt stands once, before all completions."""
        return self.unpadded_tokens("packed")

    @property
    def longest_sequence(self) -> int:
        """Tokens of the prompt with its longest completion."""
        return self.prompt + max(self.completions)

    def unpadded_tokens(self, layout: Layout) -> int:
        """Tokens in `layout` without padding.

        >>> size = GroupSize(prompt=5, completions=(2, 3), num_pairs=1)
        >>> size.unpadded_tokens("packed"), size.unpadded_tokens("sequences")
        (10, 15)
        """
        num_prompts = 1 if layout == "packed" else len(self.completions)
        return num_prompts * self.prompt + sum(self.completions)

    def count(self, unit: Unit) -> int:
        """Number of units in the group.

        >>> GroupSize(prompt=5, completions=(2, 3), num_pairs=1).count("token")
        5
        """
        match unit:
            case "pair":
                return self.num_pairs
            case "prompt":
                return 1
            case "completion":
                return len(self.completions)
            case "token":
                return sum(self.completions)


def sizes_of(groups: Sequence[TokenGroup]) -> list[GroupSize]:
    """The sizes of `groups`, in order."""
    return [GroupSize.of(group) for group in groups]


def batches_by_length(lengths: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Indices of rows by padded batch, longest first: little is padded, and memory runs out at once or never.

    Args:
        lengths: Tokens of each row.
        max_tokens: Most tokens of a batch, padding included. A longer row is a batch of its own.

    >>> batches_by_length([3, 9, 4], max_tokens=10)
    [[1], [2, 0]]
    """
    batches: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        if batches and (len(batches[-1]) + 1) * lengths[batches[-1][0]] <= max_tokens:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches


@dataclass(frozen=True, slots=True)
class WorkModel:
    """Work of a forward and backward on groups.

    work = per_token * tokens + per_target * (places that the head sees) + per_attended_key * attended keys

    A token sees itself and all that comes before it in its sequence. Packed, a prompt is computed once, and the head
    sees only the places that predict a completion token; in padded rows, it sees all. Sliding windows are left out of
    account: their layers count as if they saw everything.

    Args:
        per_token: All but attention and the head. Unit: floating point operations, as of the others.
        per_target: The head, for a place whose next token it predicts.
        per_attended_key: Attention over all layers, for a token and one that it sees.
    """

    per_token: float
    per_target: float
    per_attended_key: float

    def of_group(self, size: GroupSize, layout: Layout) -> float:
        """Work of a group by itself.

        >>> model = WorkModel(per_token=100, per_target=10, per_attended_key=1)
        >>> size = GroupSize(prompt=4, completions=(2, 1), num_pairs=1)
        >>> model.of_group(size, "packed")  # keys: 1+2+3+4 of the prompt, 5+6 and 5 of the completions
        756
        >>> model.of_group(size, "sequences")  # two rows of 6 tokens, each with 1+2+3+4+5+6 keys
        1362
        """
        if layout == "sequences":
            return self.of_padded_rows(len(size.completions), size.longest_sequence)
        keys = _causal(size.prompt) + sum(length * size.prompt + _causal(length) for length in size.completions)
        targets = sum(size.completions)
        return self.per_token * size.packed_tokens + self.per_target * targets + self.per_attended_key * keys

    def of_groups(self, sizes: Sequence[GroupSize], layout: Layout) -> float:
        """Work of groups in one micro-batch, padding included.

        >>> sizes = [GroupSize(prompt=4, completions=(2,), num_pairs=0), GroupSize(1, (1,), 0)]
        >>> TOKENS.of_groups(sizes, "packed"), TOKENS.of_groups(sizes, "sequences")
        (8, 12)
        """
        if layout == "packed" or not sizes:
            return sum(self.of_group(size, layout) for size in sizes)
        num_rows = sum(len(size.completions) for size in sizes)
        return self.of_padded_rows(num_rows, max(size.longest_sequence for size in sizes))

    def of_padded_rows(self, num_rows: int, length: int) -> float:
        """Work of `num_rows` rows that are padded to `length` tokens."""
        by_token = (self.per_token + self.per_target) * length
        return num_rows * (by_token + self.per_attended_key * _causal(length))


TOKENS = WorkModel(per_token=1, per_target=0, per_attended_key=0)
"""Work in tokens, for use without a model."""


def _causal(length: int) -> int:
    """Keys that `length` tokens see among themselves, each itself and those before it."""
    return length * (length + 1) // 2
