"""Prompt groups to token groups, within a length, in one process or several."""

import multiprocessing
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from preftune.data.progress import track
from preftune.data.tokens.auxiliary import with_auxiliary
from preftune.data.tokens.encoder import GroupEncoder
from preftune.data.tokens.token_group import TokenGroup
from preftune.data.tokens.truncate import LengthLimit, Limited, TooLong
from preftune.errors import ConfigError, DataError, TokenizerError
from preftune.groups import Origin, PromptGroup

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["TokenReport", "TokenizedGroups", "check_vocabulary", "tokenize_groups"]

_GROUPS_PER_CHUNK = 128


@dataclass(frozen=True, slots=True)
class TokenReport:
    """What tokenization changed or left out.

    Args:
        num_groups: Groups that came in.
        dropped: Origins of those left out as too long.
        prompts_cut: Origins of those whose prompt was cut.
        completions_cut: Origins of completions cut, once for each completion.
        equal_pairs: Origins of pairs whose completions have the same tokens, cut or by the tokenizer's normalization,
            once for each pair. They are left in, but teach nothing.
    """

    num_groups: int
    dropped: tuple[Origin, ...]
    prompts_cut: tuple[Origin, ...]
    completions_cut: tuple[Origin, ...]
    equal_pairs: tuple[Origin, ...]


@dataclass(frozen=True, slots=True)
class TokenizedGroups:
    """Token groups in the order of the prompt groups, and what was changed or left out."""

    groups: list[TokenGroup]
    report: TokenReport


def tokenize_groups(
    groups: Sequence[PromptGroup],
    tokenizer: "PreTrainedTokenizerBase",
    *,
    max_length: int | None,
    too_long: TooLong = "cut",
    auxiliary: Mapping[str, float] | None = None,
    num_processes: int = 1,
    show_progress: bool = False,
) -> TokenizedGroups:
    """Turn prompt groups into token ids.

    A prompt is the longest common token prefix of the prompt alone and of each prompt with its completion, so that
    training sees the tokens that generation sees. Each completion ends with the end-of-sequence token, once, unless
    it was cut.

    Args:
        groups: What to tokenize.
        tokenizer: Of Hugging Face transformers, with an end-of-sequence token, and a chat template if there are
            conversations.
        max_length: Most tokens of a prompt and one completion together; None for no limit.
        too_long: What to do about longer groups: see `LengthLimit`.
        auxiliary: Weight of each further score in the further reward of a completion: see `with_auxiliary`.
        num_processes: Processes to share the work; a script that asks for more than one needs the usual
            `if __name__ == "__main__":`. The result is the same for any number.
        show_progress: Whether to show a progress bar.
    Returns:
        The token groups in order, and origins of all that was cut or dropped.
    Raises:
        ConfigError: an option out of its range.
        DataError: a group that cannot be tokenized, or is too long and `too_long` is "error"; all groups dropped;
            a completion that lacks a score of `auxiliary`.
        TokenizerError: no end-of-sequence token; conversations and no chat template; weights and a slow tokenizer.
    """
    if num_processes < 1:
        raise ConfigError([f"num_processes = {num_processes}: must be at least 1."])
    worker = _Worker(GroupEncoder(tokenizer), LengthLimit(max_length, too_long))
    chunks = [groups[start : start + _GROUPS_PER_CHUNK] for start in range(0, len(groups), _GROUPS_PER_CHUNK)]
    num_processes = min(num_processes, len(chunks))
    results = (
        _in_processes(chunks, tokenizer, worker.limit, num_processes) if num_processes > 1 else map(worker, chunks)
    )
    limited = _flat(track(results, "Tokenizing", total=len(chunks), show=show_progress))
    tokenized = _tokenized(groups, limited, auxiliary or {})
    if groups and not tokenized.groups:
        raise DataError(
            f"all {len(groups)} rows are longer than --max-length {max_length} and were dropped, so nothing is left "
            "to learn from. Raise --max-length or use --too-long cut."
        )
    return tokenized


def check_vocabulary(groups: Iterable[TokenGroup], embedding_size: int) -> None:
    """Make sure that the model has an embedding for every token.

    Args:
        groups: Token groups.
        embedding_size: Rows of the model's input embedding.
    Raises:
        TokenizerError: a token id that has no row.
    """
    for group in groups:
        largest = max(int(ids.max()) for ids in (group.prompt, *group.completions))
        if largest >= embedding_size:
            raise TokenizerError(
                f"{group.origin}: token id {largest} is not in the model, whose embedding has {embedding_size} rows. "
                "The tokenizer does not belong to the model. Use the model's own tokenizer, or resize its embedding."
            )


@dataclass(frozen=True, slots=True)
class _Worker:
    """Tokenizes chunks of groups."""

    encoder: GroupEncoder
    limit: LengthLimit

    def __call__(self, groups: Sequence[PromptGroup]) -> list[Limited]:
        encoded = self.encoder.encode(groups)
        return [self.limit.apply(group, tokens, self.encoder) for group, tokens in zip(groups, encoded, strict=True)]


_process_worker: _Worker | None = None
"""The worker of this process, if it is one of a pool: a tokenizer is too large to be sent with every chunk."""


def _in_processes(
    chunks: Sequence[Sequence[PromptGroup]],
    tokenizer: "PreTrainedTokenizerBase",
    limit: LengthLimit,
    num_processes: int,
) -> Iterator[list[Limited]]:
    # Forking a process that runs threads, as torch does, may never return.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        num_processes, mp_context=context, initializer=_start_process, initargs=(tokenizer, limit)
    ) as pool:
        yield from pool.map(_work_in_process, chunks)


def _start_process(tokenizer: "PreTrainedTokenizerBase", limit: LengthLimit) -> None:
    global _process_worker  # noqa: PLW0603
    # The processes are the parallelism; threads of the tokenizer in each would fight for the same cores.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    _process_worker = _Worker(GroupEncoder(tokenizer), limit)


def _work_in_process(groups: Sequence[PromptGroup]) -> list[Limited]:
    assert _process_worker is not None, "the pool starts every process with _start_process"
    return _process_worker(groups)


def _flat(chunks: Iterable[list[Limited]]) -> Iterator[Limited]:
    for chunk in chunks:
        yield from chunk


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
    report = TokenReport(len(groups), tuple(dropped), tuple(prompts_cut), tuple(completions_cut), tuple(equal_pairs))
    return TokenizedGroups(kept, report)


def _num_equal_pairs(group: TokenGroup) -> int:
    completions = group.completions
    return sum(np.array_equal(completions[pair.chosen], completions[pair.rejected]) for pair in group.pairs)
