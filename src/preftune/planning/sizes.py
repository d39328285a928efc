"""How big groups are: all that a plan needs to know of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from preftune.data.tokens.token_group import TokenGroup
from preftune.losses import Unit

__all__ = ["GroupSize", "Layout", "sizes_of"]

Layout = Literal["sequences", "packed"]
"""How groups are laid out for the model: one padded row per completion, or one packed row for all."""


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
        """Tokens in `layout` that are no padding.

        >>> size = GroupSize(prompt=5, completions=(2, 3), num_pairs=1)
        >>> size.unpadded_tokens("packed"), size.unpadded_tokens("sequences")
        (10, 15)
        """
        num_prompts = 1 if layout == "packed" else len(self.completions)
        return num_prompts * self.prompt + sum(self.completions)

    def count(self, unit: Unit) -> int:
        """How many of `unit` the group holds.

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
