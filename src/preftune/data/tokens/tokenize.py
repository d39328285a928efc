"""Prompt groups to token groups within a length limit, in one process or several."""

import multiprocessing
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from preftune.data.progress import track
from preftune.data.tokens.encoder import GroupEncoder
from preftune.data.tokens.shown import Hidden
from preftune.data.tokens.token_group import TokenGroup, TokenIds
from preftune.data.tokens.weights import with_auxiliary
from preftune.errors import ConfigError, DataError, TokenizerError
from preftune.groups import Message, Origin, PromptGroup
from preftune.settings.chat import RAW, ChatChoice

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CUT_TEXTS: Mapping[str, str] = {
    "dropped": "prompts were too long and were left out",
    "prompts_cut": "prompts were too long and were cut from the left",
    "completions_cut": "completions were too long and lost their end",
    "equal_pairs": "pairs became equal in tokens and teach nothing",
    "hidden_texts": "prompts have messages whose text the chat template does not show in full",
    "hidden_calls": "prompts have tool calls that the chat template does not show in full",
    "hidden_thoughts": "prompts have reasoning that the chat template does not show in full",
    "hidden_systems": "prompts have a system turn that the chat template does not show in full",
    "hidden_tools": "prompts have tools that the chat template does not show",
    "other_generation_prompts": "prompts do not end in training as the chat template ends them for generation",
}
"""Text after a number, by the field of `TokenReport`."""

TooLong = Literal["cut", "drop", "error", "keep_start"]
"""Treatment of a group that is too long: cut prompt and completions, drop it, stop, or cut completions only."""

_MIN_PROMPT_PART = 4  # the prompt keeps at least 1 / 4 of the length


@dataclass(frozen=True, slots=True)
class Limited:
    """A group after truncation.

    Args:
        group: The group, or None if it was dropped.
    """

    group: TokenGroup | None
    is_prompt_cut: bool = False
    num_completions_cut: int = 0


@dataclass(frozen=True, slots=True)
class LengthLimit:
    """The length limit of a prompt with a completion, and the treatment of longer groups.

    Args:
        max_length: Most tokens of a prompt and its longest completion, at least 2; None for no limit.
    """

    max_length: int | None
    too_long: TooLong

    def __post_init__(self) -> None:
        problems = []
        if self.max_length is not None and self.max_length < 2:
            problems.append(f"max_length = {self.max_length}: must be at least 2, for a prompt and a completion token.")
        if self.too_long not in get_args(TooLong):
            problems.append(f"too_long = {self.too_long!r}: must be one of {', '.join(get_args(TooLong))}.")
        if problems:
            raise ConfigError(problems)

    def apply(self, group: PromptGroup, tokens: TokenGroup, encoder: GroupEncoder) -> Limited:
        """The group within the limit.

        `cut` shortens the prompt first, from its start: a conversation by its oldest turns, except system messages and
        the last user message; then, and for text, by the tokens after the beginning-of-sequence token. The prompt keeps
        at least a quarter of `max_length`. Then completions are cut at their end and lose their end-of-sequence token.
        All completions share one prompt, so the longest determines the cut. `keep_start` cuts completions only, and
        drops a group whose prompt reaches the limit.

        Raises:
            DataError: the group is too long and `too_long` is "error".
        """
        if self.max_length is None or _length(tokens) <= self.max_length:
            return Limited(tokens)
        if self.too_long == "drop":
            return Limited(None)
        if self.too_long == "keep_start":
            return (
                _with_completions_cut(tokens, self.max_length)
                if len(tokens.prompt) < self.max_length
                else Limited(None)
            )
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
    before, group = tokens, encoder.chat.group(group)
    for prompt in _shortened(group.prompt):
        if len(tokens.prompt) <= _room_for_prompt(tokens, max_length):
            break
        [tokens] = encoder.encode([replace(group, prompt=prompt)])
    prompt_ids = _last_tokens(tokens.prompt, _room_for_prompt(tokens, max_length), encoder.bos)
    limited = _with_completions_cut(replace(tokens, prompt=prompt_ids), max_length)
    return replace(limited, is_prompt_cut=len(prompt_ids) < len(before.prompt))


def _with_completions_cut(tokens: TokenGroup, max_length: int) -> Limited:
    room = max_length - len(tokens.prompt)
    cut = replace(
        tokens,
        completions=tuple(ids[:room] for ids in tokens.completions),
        weights=tuple(weights[:room] for weights in tokens.weights),
    )
    return Limited(cut, num_completions_cut=sum(length > room for length in tokens.completion_lengths))


def _room_for_prompt(tokens: TokenGroup, max_length: int) -> int:
    return max(max_length - max(tokens.completion_lengths), max_length // _MIN_PROMPT_PART, 1)


def _shortened(prompt: str | tuple[Message, ...]) -> Iterator[tuple[Message, ...]]:
    """The suffixes of the conversation that start with a user message, longest first, each with the system messages."""
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


_GROUPS_PER_CHUNK = 128


@dataclass(frozen=True, slots=True)
class TokenReport:
    """Groups that tokenization shortened or dropped.

    Args:
        dropped: Origins of the groups that are too long and were dropped.
        completions_cut: Origins of the completions that were cut, once for each completion.
        equal_pairs: Origins of pairs whose completions have the same tokens, because they were cut or normalised by the
            tokenizer, once for each pair. They are kept, but give no training signal.
        hidden_texts, hidden_calls, hidden_thoughts, hidden_systems, hidden_tools, other_generation_prompts: Origins of
            groups of which the chat template does not show a part: see `Hidden`.
    """

    num_groups: int
    dropped: tuple[Origin, ...]
    prompts_cut: tuple[Origin, ...]
    completions_cut: tuple[Origin, ...]
    equal_pairs: tuple[Origin, ...]
    hidden_texts: tuple[Origin, ...] = ()
    hidden_calls: tuple[Origin, ...] = ()
    hidden_thoughts: tuple[Origin, ...] = ()
    hidden_systems: tuple[Origin, ...] = ()
    hidden_tools: tuple[Origin, ...] = ()
    other_generation_prompts: tuple[Origin, ...] = ()


@dataclass(frozen=True, slots=True)
class TokenizedGroups:
    """Token groups in the order of the prompt groups, and a report of what was cut or dropped."""

    groups: list[TokenGroup]
    report: TokenReport


def tokenize_groups(
    groups: Sequence[PromptGroup],
    tokenizer: "PreTrainedTokenizerBase",
    *,
    max_length: int | None,
    chat: ChatChoice = RAW,
    too_long: TooLong = "cut",
    learns_prompts: bool = False,
    auxiliary: Mapping[str, float] | None = None,
    num_processes: int = 1,
    show_progress: bool = False,
) -> TokenizedGroups:
    """Turn prompt groups into token ids.

    A prompt is the longest common token prefix of the prompt alone and of each prompt with its completion, so
    training sees the same tokens as generation. Each completion ends with one end-of-sequence token unless it was cut.

    Args:
        tokenizer: Of Hugging Face transformers, with an end-of-sequence token, and a chat template if there are
            conversations.
        max_length: Most tokens of a prompt and one completion together; None for no limit.
        chat: Chat template or raw text for prompts that are text.
        learns_prompts: Train on prompts too: see `GroupEncoder`.
        auxiliary: Weight of each auxiliary score in the auxiliary reward of a completion: see `with_auxiliary`.
        num_processes: Number of worker processes. With more than one, a script needs `if __name__ == "__main__":`. The
            result does not depend on it.
    Returns:
        The token groups in order, and origins of all groups cut or dropped.
    Raises:
        DataError: a group that cannot be tokenized, or is too long and `too_long` is "error"; all groups dropped;
            a completion that lacks a score of `auxiliary`.
        TokenizerError: no end-of-sequence token; conversations and no chat template; weights and a slow tokenizer.
        ConfigError: `chat` needs a chat template that the tokenizer does not have.
    """
    if num_processes < 1:
        raise ConfigError([f"num_processes = {num_processes}: must be at least 1."])
    how = _Rules(tokenizer, chat, learns_prompts, LengthLimit(max_length, too_long))
    chunks = [groups[start : start + _GROUPS_PER_CHUNK] for start in range(0, len(groups), _GROUPS_PER_CHUNK)]
    num_processes = min(num_processes, len(chunks))
    results = _in_processes(chunks, how, num_processes) if num_processes > 1 else map(_Worker.of(how), chunks)
    limited = chain.from_iterable(track(results, "Tokenizing", total=len(chunks), show=show_progress))
    tokenized = _tokenized(groups, limited, auxiliary or {})
    if groups and not tokenized.groups and too_long == "keep_start":
        raise DataError(
            f"{groups[0].origin.source}: no row is left to train on: each of the {len(groups):,} prompts alone has "
            f"max_length = {max_length} tokens or more. Raise max_length."
        )
    if groups and not tokenized.groups:
        raise DataError(
            f"all {len(groups)} rows are longer than --max-length {max_length} and were dropped, so nothing is left "
            "to learn from. Raise --max-length or use --too-long cut."
        )
    return tokenized


def check_vocabulary(groups: Iterable[TokenGroup], embedding_size: int) -> None:
    """Raise an error unless the model has an embedding for every token.

    Args:
        embedding_size: Rows of the model's input embedding.
    """
    for group in groups:
        largest = max(int(ids.max()) for ids in (group.prompt, *group.completions))
        if largest >= embedding_size:
            raise TokenizerError(
                f"{group.origin}: token id {largest} is not in the model, whose embedding has {embedding_size} rows. "
                "The tokenizer does not belong to the model. Use the model's own tokenizer, or resize its embedding."
            )


@dataclass(frozen=True, slots=True)
class _Rules:
    """Rules by which groups are tokenized."""

    tokenizer: "PreTrainedTokenizerBase"
    chat: ChatChoice
    learns_prompts: bool
    limit: LengthLimit


@dataclass(frozen=True, slots=True)
class _Worker:
    """Tokenizes chunks of groups."""

    encoder: GroupEncoder
    limit: LengthLimit

    @staticmethod
    def of(rules: _Rules) -> "_Worker":
        encoder = GroupEncoder(rules.tokenizer, chat=rules.chat, learns_prompts=rules.learns_prompts)
        return _Worker(encoder, rules.limit)

    def __call__(self, groups: Sequence[PromptGroup]) -> list[Limited]:
        encoded = self.encoder.encode(groups)
        return [self.limit.apply(group, tokens, self.encoder) for group, tokens in zip(groups, encoded, strict=True)]


_process_worker: _Worker | None = None
"""The worker of this process in a pool: a tokenizer is too large to send with every chunk."""


def _in_processes(
    chunks: Sequence[Sequence[PromptGroup]],
    how: _Rules,
    num_processes: int,
) -> Iterator[list[Limited]]:
    # Forking a process that runs threads, as torch does, may deadlock.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(num_processes, mp_context=context, initializer=_start_process, initargs=(how,)) as pool:
        yield from pool.map(_work_in_process, chunks)


def _start_process(how: _Rules) -> None:
    global _process_worker  # noqa: PLW0603
    # The processes already use all cores; threads of the tokenizer would compete with them.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    _process_worker = _Worker.of(how)


def _work_in_process(groups: Sequence[PromptGroup]) -> list[Limited]:
    assert _process_worker is not None, "the pool starts every process with _start_process"
    return _process_worker(groups)


def _tokenized(
    groups: Sequence[PromptGroup], limited: Iterable[Limited], auxiliary: Mapping[str, float]
) -> TokenizedGroups:
    kept: list[TokenGroup] = []
    dropped: list[Origin] = []
    prompts_cut: list[Origin] = []
    completions_cut: list[Origin] = []
    equal_pairs: list[Origin] = []
    for group, result in zip(groups, limited, strict=True):
        if result.group is None:
            dropped.append(group.origin)
            continue
        kept.append(with_auxiliary(result.group, group, auxiliary))
        prompts_cut.extend([group.origin] * result.is_prompt_cut)
        completions_cut.extend([group.origin] * result.num_completions_cut)
        equal_pairs.extend([group.origin] * _num_equal_pairs(result.group))
    hidden = {kind: tuple(group.origin for group in kept if kind in group.hidden) for kind in get_args(Hidden)}
    report = TokenReport(
        len(groups), tuple(dropped), tuple(prompts_cut), tuple(completions_cut), tuple(equal_pairs), **hidden
    )
    return TokenizedGroups(kept, report)


def _num_equal_pairs(group: TokenGroup) -> int:
    completions = group.completions
    return sum(np.array_equal(completions[pair.chosen], completions[pair.rejected]) for pair in group.pairs)
