"""A prompt group as token ids."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from preftune.groups import Origin, Pair

__all__ = ["TokenGroup", "TokenIds"]

TokenIds = npt.NDArray[np.int32]
"""Ids of a tokenizer. Shape: (token,)."""

_KEY_BYTES = 16


@dataclass(frozen=True, slots=True, eq=False)
class TokenGroup:
    """One prompt and its completions as token ids, with the feedback on them.

    Args:
        prompt: Tokens that all completions share: the longest common prefix of the prompt alone and of each prompt
            with its completion. At least one, because the first completion token is predicted from it.
        completions: What follows the prompt in each sequence, the end-of-sequence token included. None is empty.
        pairs: Preferences among the completions.
        origin: Where the record comes from.

    `keys` holds a digest per completion: of the prompt's and its own ids and of where the one ends. Completions with
    the same key have the same log-prob under the same model.
    """

    prompt: TokenIds
    completions: tuple[TokenIds, ...]
    pairs: tuple[Pair, ...]
    origin: Origin
    keys: tuple[bytes, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        assert len(self.prompt) > 0, f"{self.origin}: no prompt token"
        assert self.completions, f"{self.origin}: no completion"
        assert all(len(completion) > 0 for completion in self.completions), f"{self.origin}: empty completion"
        object.__setattr__(self, "keys", tuple(_keys(self.prompt, self.completions)))

    @property
    def completion_lengths(self) -> tuple[int, ...]:
        """Number of tokens of each completion."""
        return tuple(len(completion) for completion in self.completions)


def _keys(prompt: TokenIds, completions: Sequence[TokenIds]) -> Iterator[bytes]:
    of_prompt = blake2b(len(prompt).to_bytes(8, "little"), digest_size=_KEY_BYTES)
    of_prompt.update(_bytes(prompt))
    for completion in completions:
        key = of_prompt.copy()
        key.update(_bytes(completion))
        yield key.digest()


def _bytes(ids: TokenIds) -> bytes:
    return ids.astype("<i4", copy=False).tobytes()
