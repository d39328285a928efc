"""One pass over a data set for the findings of all checks, and a second one for the texts of their examples."""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from preftune.data.prompts import normalised_prompt
from preftune.data.quality.check import (
    NUM_EXAMPLES,
    Check,
    CheckRule,
    CheckSettings,
    DataFinding,
    Draft,
    DraftExample,
    Example,
    Need,
)
from preftune.data.quality.checks import CHECKS, chosen_checks
from preftune.data.quality.facts import TokenCounts, excerpt, facts_of
from preftune.data.quality.keys import KeyArray, Places, key_of
from preftune.data.quality.report import QualityReport
from preftune.data.quality.texts import shortened
from preftune.data.rows import BadRow, DataRow
from preftune.errors import DataError
from preftune.findings import SEVERITIES
from preftune.groups import Origin, PromptGroup
from preftune.settings.chat import ChatChoice

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Rows = Callable[[], Iterable[DataRow]]
"""Starts to read the data set. Each call gives the same rows."""

TokenCounter = Callable[[Sequence[PromptGroup]], Sequence[TokenCounts]]
"""Lengths of groups in tokens; raises DataError if one cannot be tokenized."""

MOST_ROWS = 1_000
"""Rows listed with a finding."""

_CHUNK = 128
_NEEDS: Mapping[Need, str] = {"tokenizer": "needs --tokenizer", "evaluation data": "needs --eval-data"}


def check_groups(
    read: Rows,
    *,
    settings: CheckSettings | None = None,
    count_tokens: TokenCounter | None = None,
    only: Collection[str] = (),
    skip: Collection[str] = (),
    with_texts: bool = True,
) -> QualityReport:
    """Check a data set, without a model, in memory that does not grow with its texts.

    Args:
        read: Reads the rows. Called a second time if examples need texts.
        settings: Input of checks beside the data.
        count_tokens: Lengths in tokens; None without a tokenizer.
        only, skip: Names of checks, as in `chosen_checks`.
        with_texts: Give examples excerpts, which takes a second pass up to the last of them.
    Raises:
        ConfigError: an unknown check.
        DataError: data that cannot be read at all.

    >>> from preftune.groups import Completion, Pair
    >>> group = PromptGroup("2+2=", (Completion("4"), Completion("5")), (Pair(0, 1, 0.0),), Origin("sums.jsonl", 1))
    >>> check_groups(lambda: [group], only=["margins"]).findings[0].title
    'Pairs that are ties, with margin 0: 1'
    """
    start = time.perf_counter()
    settings = replace(settings or CheckSettings(), has_tokens=count_tokens is not None)
    names = chosen_checks(only, skip)
    lacks = {name: lack for name in names if (lack := _lack(CHECKS[name], settings))}
    checks = [CHECKS[name](settings) for name in names if name not in lacks]
    places, num_rows = Places(), 0
    for chunk in _chunks(read()):
        num_rows += len(chunk)
        _process(chunk, checks, places, count_tokens)
    drafts = [(check.name, draft) for check in checks for draft in check.drafts()]
    blamed: dict[str, list[int]] = {check.name: [] for check in checks if check.blames_rows}
    for name, draft in drafts:
        if name in blamed:
            blamed[name].extend(draft.places)
    drafts += [("suspicious", draft) for draft in suspicious_rows(blamed, num_rows)]
    texts = _texts(read, [draft for _, draft in drafts], places) if with_texts else {}
    findings = [_finding(name, draft, places, texts, with_texts=with_texts) for name, draft in drafts]
    return QualityReport(
        sources=places.sources,
        num_rows=num_rows,
        findings=tuple(sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))),
        histograms=tuple(picture for check in checks if (picture := check.histogram()) is not None),
        checks=tuple(check.name for check in checks),
        skipped=lacks,
        seconds=time.perf_counter() - start,
    )


def prompt_keys(rows: Iterable[DataRow]) -> KeyArray:
    """Keys of the distinct prompts, for `CheckSettings.held_out`. Shape: (prompt,)."""
    keys = np.fromiter(
        (key_of(normalised_prompt(row.prompt)) for row in rows if isinstance(row, PromptGroup)), dtype=np.uint64
    )
    return np.unique(keys)


def _lack(check: type[Check], settings: CheckSettings) -> str | None:
    has = {"tokenizer": settings.has_tokens, "evaluation data": settings.held_out is not None}
    return None if check.needs is None or has[check.needs] else _NEEDS[check.needs]


def _chunks(rows: Iterable[DataRow]) -> Iterator[list[DataRow]]:
    remaining = iter(rows)
    while chunk := list(islice(remaining, _CHUNK)):
        yield chunk


def _process(
    rows: Sequence[DataRow], checks: Sequence[Check], places: Places, count_tokens: TokenCounter | None
) -> None:
    tokens = iter(_tokens([row for row in rows if isinstance(row, PromptGroup)], count_tokens))
    for row in rows:
        place = places.of(row.origin)
        if isinstance(row, PromptGroup):
            facts = facts_of(row, place, next(tokens))
            for check in checks:
                check.add(facts)
        else:
            for check in checks:
                check.add_unusable(row, place)


def _tokens(groups: Sequence[PromptGroup], count_tokens: TokenCounter | None) -> Sequence[TokenCounts | None]:
    if count_tokens is None or not groups:
        return [None] * len(groups)
    try:
        return count_tokens(groups)
    except DataError:
        return [None] if len(groups) == 1 else [_tokens([group], count_tokens)[0] for group in groups]


_SUSPICIOUS = CheckRule(
    title="Rows that two checks or more name: {count:,}",
    unit="rows",
    reason="Rows with several faults are the most likely to be wrong.",
    advice="Read these first.",
)
_FEWEST_CHECKS, _NUM_SUSPICIOUS = 2, 10


def suspicious_rows(places: Mapping[str, Sequence[int]], num_rows: int) -> Iterator[Draft]:
    """Rows that at least two checks blame, those with the most checks first. Always a note.

    Args:
        places: Rows that each check blames; repeated ones count once.
        num_rows: Number of rows of the data set.

    >>> [draft] = suspicious_rows({"empty": [1, 2], "margins": [2, 2, 3]}, 3)
    >>> draft.count, draft.examples
    (1, [DraftExample(place=2, note='empty, margins', text=None, like=None)])
    """
    names = sorted(places)
    blamed = [np.unique(np.asarray(places[name], dtype=np.uint64)) for name in names]
    if not blamed:
        return
    rows, counts = np.unique(np.concatenate(blamed), return_counts=True)
    rows, counts = rows[counts >= _FEWEST_CHECKS], counts[counts >= _FEWEST_CHECKS]
    if not len(rows):
        return
    worst = rows[np.argsort(-counts, kind="stable")]
    examples = [
        DraftExample(int(row), ", ".join(name for name, own in zip(names, blamed, strict=True) if np.isin(row, own)))
        for row in worst[:_NUM_SUSPICIOUS]
    ]
    yield _SUSPICIOUS.draft(len(rows), num_rows, worst.tolist(), examples=examples)


def _texts(read: Rows, drafts: Sequence[Draft], places: Places) -> dict[Origin, str]:
    """Excerpts of the examples that have no text of their own."""
    wanted = {places.origin(item.place) for draft in drafts for item in _examples(draft) if item.text is None}
    texts: dict[Origin, str] = {}
    if not wanted:
        return texts
    for row in read():
        if row.origin in wanted:
            texts[row.origin] = _excerpt(row)
            wanted.discard(row.origin)
            if not wanted:
                break
    return texts


def _excerpt(row: DataRow) -> str:
    if isinstance(row, PromptGroup):
        return excerpt(row)
    return shortened(row.problem if isinstance(row, BadRow) else row.reason)


def _examples(draft: Draft) -> Sequence[DraftExample]:
    if draft.examples is not None:
        return draft.examples
    return [DraftExample(place) for place in islice(dict.fromkeys(draft.places), NUM_EXAMPLES)]


def _finding(name: str, draft: Draft, places: Places, texts: Mapping[Origin, str], *, with_texts: bool) -> DataFinding:
    rows = list(dict.fromkeys(draft.places))
    return DataFinding(
        rule=name,
        severity=draft.severity,
        title=draft.title,
        advice=draft.advice,
        remedy=draft.remedy,
        count=draft.count,
        total=draft.total,
        unit=draft.rule.unit,
        reason=draft.rule.reason,
        examples=tuple(_example(item, places, texts, with_text=with_texts) for item in _examples(draft)),
        rows=tuple(places.origin(place) for place in rows[:MOST_ROWS]),
        num_rows=len(rows),
        measures=draft.measures,
    )


def _example(item: DraftExample, places: Places, texts: Mapping[Origin, str], *, with_text: bool) -> Example:
    origin = places.origin(item.place)
    text = texts.get(origin, "") if item.text is None else item.text
    note = item.note if item.like is None else f"like {places.origin(item.like)}"
    return Example(origin, note, text if with_text else "")


def token_counter(tokenizer: "PreTrainedTokenizerBase", chat: ChatChoice) -> TokenCounter:
    """Counts tokens of groups; chat template, special tokens and the end of the sequence included."""
    from preftune.data.tokens.encoder import GroupEncoder
    from preftune.data.tokens.tokenize import CUT_TEXTS

    encoder = GroupEncoder(tokenizer, chat=chat)

    def count(groups: Sequence[PromptGroup]) -> Sequence[TokenCounts]:
        return [
            TokenCounts(
                len(group.prompt),
                tuple(len(ids) for ids in group.completions),
                tuple(CUT_TEXTS[kind] for kind in group.hidden),
            )
            for group in encoder.encode(groups)
        ]

    return count


def special_tokens(tokenizer: "PreTrainedTokenizerBase") -> tuple[str, ...]:
    """Texts that the tokenizer takes for special tokens."""
    added = (token.content for token in tokenizer.added_tokens_decoder.values() if token.special)
    return tuple(sorted({*tokenizer.all_special_tokens, *added} - {""}))
