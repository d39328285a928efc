"""Rows as users of TRL hand them over, in the form that the trainer takes."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain, islice
from typing import Any

from datasets import IterableDataset
from transformers import PreTrainedTokenizerBase

from preftune.compat.messages import in_words_of_scripts
from preftune.compat.tuning_config import TuningConfig
from preftune.data.load import LoadedGroups, groups_from_rows, unusable_rows
from preftune.data.rows import BadRow
from preftune.data.tables import rows_of_table
from preftune.data.tokens.pipeline import MethodGroups, TokenPipeline
from preftune.data.tokens.token_group import TokenGroup
from preftune.errors import ConfigError, DataError
from preftune.losses import Method
from preftune.runs.data_report import PartReport
from preftune.runs.prepare_data import data_warnings
from preftune.settings.chat import RAW

Rows = Iterable[Mapping[str, Any]]
"""A list of dicts, a `datasets.Dataset` or `IterableDataset`, a pandas frame, or the like."""

_logger = logging.getLogger(__name__)


@in_words_of_scripts()
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
        DataError: unusable rows, all of them counted; or no row.
        TokenizerError: the tokenizer cannot handle them.
        ConfigError: settings that do not fit the rows.
    """
    if isinstance(rows, Mapping):
        raise DataError(f"{name}: holds several data sets ({', '.join(map(str, rows))}). Give one of them.")
    show = not config.disable_tqdm and config.process_index == 0
    first, readable = _peeked(iter(rows_of_table(rows, name)))
    method = config.method
    layout = "demonstrations" if method.feedback == "demonstrations" else None
    loaded = groups_from_rows(readable, source=name, format=layout, on_bad_row="skip", show_progress=show)
    pipeline = TokenPipeline(
        tokenizer=tokenizer,
        chat=RAW,  # as in TRL, the chat template is for rows of messages alone
        max_length=config.max_length,
        too_long="keep_start",
        learns_prompts=config.learns_prompts(first),
        matches_within_prompt=True,
        num_processes=config.dataset_num_proc or 1,
        show_progress=show,
    )
    part = _tokenized(loaded, pipeline, method) if not loaded.skipped or config.skips_bad_rows else None
    if part is None:
        loaded = _without_unusable(loaded, pipeline, skips=config.skips_bad_rows)
        part = pipeline.for_method(loaded.groups, method)
    report = PartReport.of(loaded, part)
    report = replace(report, warnings=tuple(data_warnings(method, report)))
    _log(report, name)
    return part.tokenized.groups, report


def _tokenized(loaded: LoadedGroups, pipeline: TokenPipeline, method: Method) -> MethodGroups | None:
    """The token groups of all rows; None if some cannot be used."""
    try:
        return pipeline.for_method(loaded.groups, method)
    except DataError:
        return None


def _without_unusable(loaded: LoadedGroups, pipeline: TokenPipeline, *, skips: bool) -> LoadedGroups:
    """The rows that can be tokenized, each tried alone.

    Raises:
        DataError: there are others, and they are not skipped.
    """
    alone = replace(pipeline, max_length=None, num_processes=1, show_progress=False)
    usable, bad = [], list(loaded.skipped)
    for group in loaded.groups:
        try:
            alone.tokens([group])
        except DataError as error:
            bad.append(BadRow(group.origin, str(error).removeprefix(f"{group.origin}: "), error.fault))
        else:
            usable.append(group)
    bad.sort(key=lambda row: row.origin.row)
    if bad and not (skips and usable):
        raise unusable_rows(bad, loaded.num_rows)
    return replace(loaded, groups=usable, skipped=tuple(bad))


def rows_for_steps(rows: Rows, config: TuningConfig) -> Rows:
    """Rows of the training: of a stream, those that `max_steps` steps take; else all.

    Raises:
        ConfigError: a stream without `max_steps`.
    """
    if not isinstance(rows, IterableDataset):
        return rows
    if config.max_steps <= 0:
        raise ConfigError(
            [
                f"max_steps = {config.max_steps}: train_dataset is a stream, whose length is unknown. Set max_steps to "
                "the number of steps, or give a Dataset."
            ]
        )
    per_step = config.per_device_train_batch_size * config.gradient_accumulation_steps * config.world_size
    return islice(rows, config.max_steps * per_step)


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
