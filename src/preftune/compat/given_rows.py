"""Rows as users of TRL give them, to token groups, cut as TRL cuts."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
from datasets import IterableDataset
from transformers import PreTrainedTokenizerBase

from preftune.compat.tuning_config import TuningConfig
from preftune.data import groups_from_rows
from preftune.data.feedback import groups_for
from preftune.data.tokens.mismatched import with_mismatched
from preftune.data.tokens.token_group import TokenGroup
from preftune.data.tokens.tokenize import TokenizedGroups, tokenize_groups
from preftune.errors import DataError
from preftune.runs.prepare_data import PartReport, data_warnings

__all__ = ["Rows", "keep_start", "learning_prompts", "read_rows"]

Rows = Iterable[Mapping[str, Any]]
"""A list of dicts, a `datasets.Dataset`, or the like."""

_logger = logging.getLogger(__name__)
_NOT_READ = ("tools", "chat_template_kwargs", "image", "images")


def read_rows(
    rows: Rows, name: str, tokenizer: PreTrainedTokenizerBase, config: TuningConfig
) -> tuple[list[TokenGroup], PartReport]:
    """The token groups of a data set, and what was cut or left out, which is logged as well.

    Args:
        rows: For methods that learn from pairs, `prompt`, `chosen` and `rejected`, as text or messages; or `chosen`
            and `rejected` with the prompt in both. From thumbs: these, or `prompt`, `completion` and `label`. From
            demonstrations: `prompt` and `completion`, or `messages`.
        name: What to call the data set in errors.
        tokenizer: The model's.
        config: The method, how long a row may be, and how many processes tokenize.
    Raises:
        DataError: rows that cannot be used, or none.
        TokenizerError: a tokenizer that cannot handle them.
        ConfigError: settings that do not go with the rows.
    """
    _check_kind(rows, name)
    show = not config.disable_tqdm and config.process_index == 0
    first, readable = _peeked(_readable(rows, name))
    method = config.method
    layout = "demonstrations" if method.feedback == "demonstrations" else None
    loaded = groups_from_rows(readable, source=name, format=layout, show_progress=show)
    fitted = groups_for(method.feedback, loaded.groups, needs_margins=method.needs("margins"))
    tokenized = tokenize_groups(
        fitted.groups,
        tokenizer,
        max_length=None,
        num_processes=config.dataset_num_proc or 1,
        show_progress=show,
    )
    if config.learns_prompts(first):
        tokenized = replace(tokenized, groups=list(map(learning_prompts, tokenized.groups)))
    tokenized = keep_start(tokenized, config.max_length)
    if not tokenized.groups:
        raise DataError(
            f"{name}: nothing is left to learn from: each of the {len(loaded.groups):,} prompts alone has max_length = "
            f"{config.max_length} tokens or more. Raise max_length."
        )
    report = PartReport.of(loaded, fitted.report, tokenized)
    report = replace(report, warnings=tuple(data_warnings(config.method, report)))
    _log(report, name)
    groups = tokenized.groups
    return with_mismatched(groups, max_length=config.max_length) if method.needs("mismatched") else groups, report


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
        replace(
            group,
            completions=tuple(ids[: max_length - len(group.prompt)] for ids in group.completions),
            weights=tuple(weights[: max_length - len(group.prompt)] for weights in group.weights),
        )
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


def learning_prompts(group: TokenGroup) -> TokenGroup:
    """The group with all tokens but the first in its completion, so that they are learned too.

    Args:
        group: With a single completion.

    >>> from preftune.groups import Origin
    >>> ids = lambda *values: np.array(values, dtype=np.int32)
    >>> group = learning_prompts(TokenGroup(ids(5, 6), (ids(7),), (), Origin("doc", 1)))
    >>> group.prompt.tolist(), group.completions[0].tolist()
    ([5], [6, 7])
    """
    [completion] = group.completions
    assert not group.weights, f"{group.origin}: rows of demonstrations have no weights"
    return replace(group, prompt=group.prompt[:1], completions=(np.concatenate([group.prompt[1:], completion]),))


def _check_kind(rows: Rows, name: str) -> None:
    if isinstance(rows, Mapping):
        raise DataError(f"{name}: holds several data sets ({', '.join(map(str, rows))}). Give one of them.")
    if isinstance(rows, IterableDataset):
        raise DataError(
            f"{name}: is a stream, and steps are planned by the length of all rows. Give a Dataset, or a list of rows."
        )


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


def _peeked(rows: Iterator[Mapping[str, Any]]) -> tuple[Mapping[str, Any], Iterator[Mapping[str, Any]]]:
    """The first row, empty where there is none, and all rows."""
    first = next(rows, None)
    return ({}, rows) if first is None else (first, chain([first], rows))


def _log(report: PartReport, name: str) -> None:
    is_worth_a_warning = report.dropped or report.completions_cut or report.warnings
    for line in report.lines(name):
        _logger.log(logging.WARNING if is_worth_a_warning else logging.INFO, line)
