"""A prompt group as token ids."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Literal

import numpy as np
import numpy.typing as npt

from preftune.data.tokens.shown import Hidden
from preftune.groups import Origin, Pair

TokenIds = npt.NDArray[np.int32]
"""Ids of a tokenizer. Shape: (token,)."""

TokenWeights = npt.NDArray[np.float32]
"""Weight of each token of a completion, >= 0. Shape: (token,)."""

LossUnit = Literal["pair", "completion", "prompt"]
"""Unit that has a weight in a loss. Tokens have that of their completion or pair."""

_KEY_BYTES = 16


@dataclass(frozen=True, slots=True, eq=False)
class TokenGroup:
    """One prompt and its completions as token ids, with the feedback on them.

    Args:
        prompt: Tokens that all completions share: the longest common prefix of the prompt alone and of each prompt
            with its completion. At least one, because the first completion token is predicted from it.
        completions: Tokens after the prompt in each sequence, including the end-of-sequence token; none is empty.
        scores: Score of each completion on the scale of the data; empty if unknown.
        desirable: Thumbs up or down for each completion; empty if unknown.
        auxiliary: Auxiliary reward of each completion, a weighted sum; empty if there is none.
        weights: Weights of each completion's tokens; empty if all are 1.
        weight: Weight of the group in the loss, > 0.
        completion_weights: Weight of each completion on top of it; empty if all are 1.
        hidden: Parts of the messages that the chat template does not show.
        mismatched: Completions of other prompts, for methods that need them; otherwise empty. Their log-ratios estimate
            the KL divergence of the policy from the reference.

    `keys` has a digest per completion, of the length and ids of the prompt and the ids of the completion. Completions
    with the same key have the same log-prob under the same model.
    """

    prompt: TokenIds
    completions: tuple[TokenIds, ...]
    pairs: tuple[Pair, ...]
    origin: Origin
    scores: tuple[float, ...] = ()
    desirable: tuple[bool, ...] = ()
    auxiliary: tuple[float, ...] = ()
    weights: tuple[TokenWeights, ...] = ()
    mismatched: tuple[TokenIds, ...] = ()
    weight: float = 1.0
    completion_weights: tuple[float, ...] = ()
    hidden: tuple[Hidden, ...] = ()
    keys: tuple[bytes, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        assert len(self.prompt) > 0, f"{self.origin}: no prompt token"
        assert self.completions, f"{self.origin}: no completion"
        assert all(len(completion) > 0 for completion in self.completions), f"{self.origin}: empty completion"
        for known in (self.scores, self.desirable, self.auxiliary, self.weights, self.completion_weights):
            assert len(known) in (0, len(self.completions)), f"{self.origin}: not one for each completion"
        lengths = tuple(len(weights) for weights in self.weights)
        assert not lengths or lengths == self.completion_lengths, f"{self.origin}: not a weight for each token"
        object.__setattr__(self, "keys", tuple(_keys(self.prompt, self.completions)))

    @property
    def completion_lengths(self) -> tuple[int, ...]:
        """Number of tokens of each completion."""
        return tuple(len(completion) for completion in self.completions)

    def weights_in_loss(self, unit: LossUnit) -> tuple[float, ...]:
        """Weight of each pair, each completion or of the prompt in the mean of a loss.

        >>> ids = np.array([5], dtype=np.int32)
        >>> pairs, origin = (Pair(0, 1),), Origin("sums.jsonl", 1)
        >>> group = TokenGroup(ids, (ids, ids), pairs, origin, weight=0.5, completion_weights=(3.0, 1.0))
        >>> [group.weights_in_loss(unit) for unit in ("pair", "completion", "prompt")]
        [(1.5,), (1.5, 0.5), (0.5,)]
        """
        own = self.completion_weights or (1.0,) * len(self.completions)
        match unit:
            case "pair":
                return tuple(self.weight * own[pair.chosen] * own[pair.rejected] for pair in self.pairs)
            case "completion":
                return tuple(self.weight * weight for weight in own)
            case "prompt":
                return (self.weight,)

    def behind_prompt(self, completions: Sequence[TokenIds]) -> "TokenGroup":
        """The same prompt with other completions and no feedback."""
        return TokenGroup(self.prompt, tuple(completions), (), self.origin)

    @property
    def mismatched_group(self) -> "TokenGroup | None":
        """The prompt with its mismatched completions, or None if there are none."""
        return self.behind_prompt(self.mismatched) if self.mismatched else None


def _keys(prompt: TokenIds, completions: Sequence[TokenIds]) -> Iterator[bytes]:
    of_prompt = blake2b(len(prompt).to_bytes(8, "little"), digest_size=_KEY_BYTES)
    of_prompt.update(_bytes(prompt))
    for completion in completions:
        key = of_prompt.copy()
        key.update(_bytes(completion))
        yield key.digest()


def _bytes(ids: TokenIds) -> bytes:
    return ids.astype("<i4", copy=False).tobytes()


def common_prefix_length(sequences: Sequence[TokenIds]) -> int:
    """The length of the longest common prefix of one or more sequences.

    >>> common_prefix_length([np.array([1, 2, 3]), np.array([1, 2, 4, 5]), np.array([1, 2])])
    2
    """
    first, *others = sequences
    length = len(first)
    for other in others:
        length = min(length, len(other))
        differs = first[:length] != other[:length]
        if differs.any():
            length = int(differs.argmax())
    return length


def end_once(completion: TokenIds, eos: int, is_blank: Callable[[int], bool]) -> TokenIds:
    """The completion with the end-of-sequence token at its end, once.

    If the completion already has it, followed only by white space or repeats of it, the tokens after it are removed:
    chat templates end a turn with a line break, and some tokenizers append a token of their own. Otherwise it is
    appended.

    Args:
        completion: Token ids. Shape: (token,).
    Returns:
        Token ids. Shape: (token,).

    >>> end_once(np.array([5, 6, 0, 9], dtype=np.int32), eos=0, is_blank=lambda token: token == 9)
    array([5, 6, 0], dtype=int32)
    """
    end = None
    for index in range(len(completion) - 1, -1, -1):
        token = int(completion[index])
        if token == eos:
            end = index
        elif not is_blank(token):
            break
    if end is not None:
        return completion[: end + 1]
    return np.append(completion, np.int32(eos))
