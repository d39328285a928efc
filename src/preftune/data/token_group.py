"""A prompt group as token ids."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from preftune.groups import Origin, Pair

__all__ = ["TokenGroup", "TokenIds"]

TokenIds = npt.NDArray[np.int32]
"""Ids of a tokenizer. Shape: (token,)."""


@dataclass(frozen=True, slots=True, eq=False)
class TokenGroup:
    """One prompt and its completions as token ids, with the feedback on them.

    Args:
        prompt: Tokens that all completions share: the longest common prefix of the prompt alone and of each prompt
            with its completion. At least one, because the first completion token is predicted from it.
        completions: What follows the prompt in each sequence, the end-of-sequence token included. None is empty.
        pairs: Preferences among the completions.
        origin: Where the record comes from.
    """

    prompt: TokenIds
    completions: tuple[TokenIds, ...]
    pairs: tuple[Pair, ...]
    origin: Origin

    def __post_init__(self) -> None:
        assert len(self.prompt) > 0, f"{self.origin}: no prompt token"
        assert self.completions, f"{self.origin}: no completion"
        assert all(len(completion) > 0 for completion in self.completions), f"{self.origin}: empty completion"

    @property
    def completion_lengths(self) -> tuple[int, ...]:
        """Number of tokens of each completion."""
        return tuple(len(completion) for completion in self.completions)
