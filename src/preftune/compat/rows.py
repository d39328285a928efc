"""Rows as users of TRL hand them over, in the form that the trainer takes."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from typing import Any

from datasets import IterableDataset
from transformers import PreTrainedTokenizerBase

from preftune.compat.tuning_config import TuningConfig
from preftune.data import groups_from_rows
from preftune.data.tables import rows_of_table
from preftune.data.tokens.pipeline import TokenPipeline
from preftune.data.tokens.token_group import TokenGroup
from preftune.errors import DataError
from preftune.runs.prepare_data import PartReport, data_warnings
from preftune.settings.chat import RAW

__all__ = ["Rows", "read_rows"]

Rows = Iterable[Mapping[str, Any]]
"""A list of dicts, a `datasets.Dataset`, a pandas frame, or the like."""

_logger = logging.getLogger(__name__)


def read_rows(
    rows: Rows, name: str, tokenizer: PreTrainedTokenizerBase, config: TuningConfig
) -> tuple[list[TokenGroup], PartReport]:
    """The token groups of a data set and a report of what was cut or dropped, which is logged as well.

    Args:
        rows: For methods that learn from pairs, `prompt`, `chosen` and `rejected`, as text or messages; or `chosen`
            and `rejected` with the prompt in both. From thumbs: these, or `prompt`, `completion` and `label`. From
            demonstrations: `prompt` and `completion`, or `messages`. Rows of messages may have `tools` and
            `chat_template_kwargs`, which the chat template gets.
        name: Name of the data set in errors.
    Raises:
        DataError: unusable rows, or none.
        TokenizerError: the tokenizer cannot handle them.
        ConfigError: settings that do not fit the rows.
    """
    _check_kind(rows, name)
    show = not config.disable_tqdm and config.process_index == 0
    first, readable = _peeked(iter(rows_of_table(rows, name)))
    method = config.method
    layout = "demonstrations" if method.feedback == "demonstrations" else None
    loaded = groups_from_rows(readable, source=name, format=layout, show_progress=show)
    pipeline = TokenPipeline(
        tokenizer=tokenizer,
        chat=RAW,  # as in TRL, the chat template is for rows of messages alone
        max_length=config.max_length,
        too_long="keep_start",
        learns_prompts=config.learns_prompts(first),
        num_processes=config.dataset_num_proc or 1,
        show_progress=show,
    )
    part = pipeline.for_method(loaded.groups, method)
    report = PartReport.of(loaded, part)
    report = replace(report, warnings=tuple(data_warnings(method, report)))
    _log(report, name)
    return part.tokenized.groups, report


def _check_kind(rows: Rows, name: str) -> None:
    if isinstance(rows, Mapping):
        raise DataError(f"{name}: holds several data sets ({', '.join(map(str, rows))}). Give one of them.")
    if isinstance(rows, IterableDataset):
        raise DataError(
            f"{name}: is a stream, but steps are planned from the lengths of all rows. Give a Dataset, or a list of "
            "rows."
        )


def _peeked(rows: Iterator[Mapping[str, Any]]) -> tuple[Mapping[str, Any], Iterator[Mapping[str, Any]]]:
    """The first row (empty if there is none) and an iterator over all rows."""
    first = next(rows, None)
    return ({}, rows) if first is None else (first, chain([first], rows))


def _log(report: PartReport, name: str) -> None:
    is_worth_a_warning = (
        report.dropped or report.completions_cut or report.warnings or report.notes or report.hides_anything
    )
    for line in report.lines(name):
        _logger.log(logging.WARNING if is_worth_a_warning else logging.INFO, line)
