"""Rows of preferences as users of TRL give them, to token groups, cut as TRL cuts."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from datasets import IterableDataset
from transformers import PreTrainedTokenizerBase

from preftune.compat.dpo_config import DPOConfig
from preftune.data import TokenGroup, TokenizedGroups, groups_from_rows, tokenize_groups
from preftune.data.feedback import groups_for
from preftune.errors import DataError
from preftune.training.prepare_data import PartReport

__all__ = ["Rows", "keep_start", "read_preferences"]

Rows = Iterable[Mapping[str, Any]]
"""A list of dicts, a `datasets.Dataset`, or the like."""

_logger = logging.getLogger(__name__)
_NOT_READ = ("tools", "chat_template_kwargs", "image", "images")


def read_preferences(
    rows: Rows, name: str, tokenizer: PreTrainedTokenizerBase, config: DPOConfig
) -> tuple[list[TokenGroup], PartReport]:
    """The token groups of a data set, and what was cut or left out, which is logged as well.

    Args:
        rows: `prompt`, `chosen` and `rejected`, as text or messages; or `chosen` and `rejected` with the prompt in
            both.
        name: What to call the data set in errors.
        tokenizer: The model's.
        config: How long a row may be, and how many processes tokenize.
    Raises:
        DataError: rows that cannot be used, or none.
        TokenizerError: a tokenizer that cannot handle them.
    """
    if isinstance(rows, Mapping):
        raise DataError(f"{name}: holds several data sets ({', '.join(map(str, rows))}). Give one of them.")
    if isinstance(rows, IterableDataset):
        raise DataError(
            f"{name}: is a stream, and steps are planned by the length of all rows. Give a Dataset, or a list of rows."
        )
    show = not config.disable_tqdm and config.process_index == 0
    loaded = groups_from_rows(_readable(rows, name), source=name, show_progress=show)
    tokenized = tokenize_groups(
        groups_for("pairs", loaded.groups),
        tokenizer,
        max_length=None,
        num_processes=config.dataset_num_proc or 1,
        show_progress=show,
    )
    tokenized = keep_start(tokenized, config.max_length)
    if not tokenized.groups:
        raise DataError(
            f"{name}: nothing is left to learn from: each of the {len(loaded.groups):,} prompts alone has max_length = "
            f"{config.max_length} tokens or more. Raise max_length."
        )
    report = PartReport.of(loaded, tokenized)
    for line in report.lines(name):
        _logger.log(logging.WARNING if report.dropped or report.completions_cut else logging.INFO, line)
    return tokenized.groups, report


def keep_start(tokenized: TokenizedGroups, max_length: int | None) -> TokenizedGroups:
    """The groups with every sequence cut at its end to `max_length` tokens, as `truncation_mode = "keep_start"` says.

    A group whose prompt alone is as long is left out: nothing of its completions would stay.
    """
    if max_length is None:
        return tokenized
    kept = [group for group in tokenized.groups if len(group.prompt) < max_length]
    dropped = [group.origin for group in tokenized.groups if len(group.prompt) >= max_length]
    cut = [
        group.origin for group in kept for length in group.completion_lengths if len(group.prompt) + length > max_length
    ]
    groups = [
        replace(group, completions=tuple(ids[: max_length - len(group.prompt)] for ids in group.completions))
        for group in kept
    ]
    equal = [
        group.origin
        for group in groups
        for pair in group.pairs
        if np.array_equal(group.completions[pair.chosen], group.completions[pair.rejected])
    ]
    report = replace(tokenized.report, dropped=tuple(dropped), completions_cut=tuple(cut), equal_pairs=tuple(equal))
    return TokenizedGroups(groups, report)


def _readable(rows: Rows, name: str) -> Iterator[Mapping[str, Any]]:
    """The rows; one with a column that would change what TRL trains on, and is not read here, is an error."""
    for number, row in enumerate(rows, start=1):
        given: object = row  # callers without a type checker may hand over anything, and the reader tells them
        found = [column for column in _NOT_READ if isinstance(given, Mapping) and given.get(column)]
        if found:
            raise DataError(
                f"{name}:{number}: field '{found[0]}' is not supported. Leave the column out to train without it, or "
                "render the conversation to text with the chat template first."
            )
        yield row
