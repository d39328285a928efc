"""Groups that are longer than the limit: cut, dropped or refused."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from preftune.data.tokens.encoder import GroupEncoder
from preftune.data.tokens.token_group import TokenGroup, TokenIds
from preftune.errors import ConfigError, DataError
from preftune.groups import Message, PromptGroup

__all__ = ["LengthLimit", "Limited", "TooLong"]

TooLong = Literal["cut", "drop", "error"]
"""Cut a group that is too long, leave it out, or stop."""

_MIN_PROMPT_PART = 4  # the prompt keeps the room of at least one part in so many


@dataclass(frozen=True, slots=True)
class Limited:
    """A group within the limit.

    Args:
        group: The group, or None if it was left out.
        is_prompt_cut: Whether its prompt is shorter than it was.
        num_completions_cut: How many of its completions are shorter than they were.
    """

    group: TokenGroup | None
    is_prompt_cut: bool = False
    num_completions_cut: int = 0


@dataclass(frozen=True, slots=True)
class LengthLimit:
    """How long prompt and completion together may be, and what to do about longer ones.

    Args:
        max_length: Tokens of a prompt and its longest completion, at least 2; None for no limit.
        too_long: What to do about a longer group.
    Raises:
        ConfigError: a value out of its range.
    """

    max_length: int | None
    too_long: TooLong

    def __post_init__(self) -> None:
        problems = []
        if self.max_length is not None and self.max_length < 2:
            problems.append(f"max_length = {self.max_length}: must be at least 2, for a prompt and a completion token.")
        if self.too_long not in ("cut", "drop", "error"):
            problems.append(f"too_long = {self.too_long!r}: must be 'cut', 'drop' or 'error'.")
        if problems:
            raise ConfigError(problems)

    def apply(self, group: PromptGroup, tokens: TokenGroup, encoder: GroupEncoder) -> Limited:
        """The group within the limit.

        To cut, the prompt gives way first, from its start: a conversation by its oldest turns, system messages
        excepted, as long as the last user message stays; then, and for text, by tokens behind the
        beginning-of-sequence token. It keeps the room of a quarter of `max_length`. Then completions are cut at
        their end and so lose their end-of-sequence token. All completions share one prompt: the longest decides.

        Args:
            group: The group before tokenization.
            tokens: The same group as token ids.
            encoder: What tokenized it, to do so again with fewer messages.
        Raises:
            DataError: the group is too long and `too_long` is "error".
        """
        if self.max_length is None or _length(tokens) <= self.max_length:
            return Limited(tokens)
        if self.too_long == "drop":
            return Limited(None)
        if self.too_long == "error":
            raise DataError(
                f"{tokens.origin}: the row has {_length(tokens)} tokens ({len(tokens.prompt)} of the prompt, up to "
                f"{max(tokens.completion_lengths)} of a completion), but --max-length is {self.max_length}. "
                "Raise --max-length, or use --too-long cut or --too-long drop."
            )
        return _cut(group, tokens, self.max_length, encoder)


def _length(tokens: TokenGroup) -> int:
    return len(tokens.prompt) + max(tokens.completion_lengths)


def _cut(group: PromptGroup, tokens: TokenGroup, max_length: int, encoder: GroupEncoder) -> Limited:
    before = tokens
    for prompt in _shortened(group.prompt):
        if len(tokens.prompt) <= _room_for_prompt(tokens, max_length):
            break
        [tokens] = encoder.encode([replace(group, prompt=prompt)])
    prompt_ids = _last_tokens(tokens.prompt, _room_for_prompt(tokens, max_length), encoder.bos)
    room = max_length - len(prompt_ids)
    return Limited(
        replace(
            tokens,
            prompt=prompt_ids,
            completions=tuple(ids[:room] for ids in tokens.completions),
            weights=tuple(weights[:room] for weights in tokens.weights),
        ),
        is_prompt_cut=len(prompt_ids) < len(before.prompt),
        num_completions_cut=sum(length > room for length in tokens.completion_lengths),
    )


def _room_for_prompt(tokens: TokenGroup, max_length: int) -> int:
    return max(max_length - max(tokens.completion_lengths), max_length // _MIN_PROMPT_PART, 1)


def _shortened(prompt: str | tuple[Message, ...]) -> Iterator[tuple[Message, ...]]:
    """The conversation from each later user message on, system messages kept, the longest first."""
    if isinstance(prompt, str):
        return
    first = next((index for index, message in enumerate(prompt) if message.role != "system"), 0)
    for start, message in enumerate(prompt):
        if start > first and message.role == "user":
            system = tuple(message for message in prompt[:start] if message.role == "system")
            yield system + prompt[start:]


def _last_tokens(prompt: TokenIds, room: int, bos: int | None) -> TokenIds:
    if len(prompt) <= room:
        return prompt
    if bos is None or prompt[0] != bos:
        return prompt[len(prompt) - room :]
    return np.concatenate([prompt[:1], prompt[len(prompt) - room + 1 :]])
