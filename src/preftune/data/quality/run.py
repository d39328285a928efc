"""Run checks over a data set: one pass for what they find, a second one for the texts of examples."""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from preftune.data.prompts import normalised_prompt
from preftune.data.quality.check import Check, CheckSettings
from preftune.data.quality.checks import CHECKS, Need, chosen_checks
from preftune.data.quality.facts import TokenCounts, excerpt, facts_of
from preftune.data.quality.finding import NUM_EXAMPLES, SEVERITIES, Example, Finding, Found, Shown
from preftune.data.quality.keys import KeyArray, key_of
from preftune.data.quality.places import Places
from preftune.data.quality.report import QualityReport
from preftune.data.quality.suspicious import find_suspicious
from preftune.data.quality.texts import shortened
from preftune.data.rows import BadRow, DataRow
from preftune.errors import DataError
from preftune.groups import Origin, PromptGroup

__all__ = ["MOST_ROWS", "Rows", "TokenCounter", "check_groups", "prompt_keys"]

Rows = Callable[[], Iterable[DataRow]]
"""Starts to read the data set, as often as it is called; each time the same rows."""

TokenCounter = Callable[[Sequence[PromptGroup]], Sequence[TokenCounts]]
"""Lengths of groups in tokens; raises DataError where one cannot be tokenized."""

MOST_ROWS = 1_000
"""As many rows of a finding are listed."""

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
    """Look for what is wrong with a data set, without a model, in memory that texts do not fill.

    Args:
        read: Gives the rows. Called twice if there are examples to fetch.
        settings: What checks need beside the data.
        count_tokens: Lengths in tokens, where there is a tokenizer.
        only, skip: Names of checks, as in `chosen_checks`.
        with_texts: Whether examples have excerpts, which takes a second pass up to the last of them.
    Raises:
        ConfigError: names of checks that are not there.
        DataError: data that cannot be read at all.

    >>> from preftune.groups import Completion, Pair
    >>> group = PromptGroup("2+2=", (Completion("4"), Completion("5")), (Pair(0, 1, 0.0),), Origin("sums.jsonl", 1))
    >>> check_groups(lambda: [group], only=["margins"]).findings[0].title
    'Pairs that are ties, their margin 0: 1'
    """
    start = time.perf_counter()
    settings = replace(settings or CheckSettings(), has_tokens=count_tokens is not None)
    names = chosen_checks(only, skip)
    lacks = {name: lack for name in names if (lack := _lack(name, settings))}
    pass_ = _Pass({name: CHECKS[name].make(settings) for name in names if name not in lacks}, count_tokens)
    for chunk in _chunks(read()):
        pass_.see(chunk)
    found = pass_.found()
    texts = _texts(read, found, pass_.places) if with_texts else {}
    findings = [_finding(item, pass_.places, texts, with_texts=with_texts) for item in found]
    return QualityReport(
        sources=pass_.places.sources,
        num_rows=pass_.num_rows,
        findings=tuple(sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))),
        histograms=tuple(picture for check in pass_.checks.values() for picture in check.histograms()),
        checks=tuple(pass_.checks),
        skipped=lacks,
        seconds=time.perf_counter() - start,
    )


def prompt_keys(rows: Iterable[DataRow]) -> KeyArray:
    """Keys of the distinct prompts, for `CheckSettings.held_out`."""
    keys = np.fromiter(
        (key_of(normalised_prompt(row.prompt)) for row in rows if isinstance(row, PromptGroup)), dtype=np.uint64
    )
    return np.unique(keys)


def _lack(name: str, settings: CheckSettings) -> str | None:
    need = CHECKS[name].needs
    has = {"tokenizer": settings.has_tokens, "evaluation data": settings.held_out is not None}
    return None if need is None or has[need] else _NEEDS[need]


def _chunks(rows: Iterable[DataRow]) -> Iterator[list[DataRow]]:
    remaining = iter(rows)
    while chunk := list(islice(remaining, _CHUNK)):
        yield chunk


@dataclass
class _Pass:
    """The pass over the data in which checks see all rows."""

    checks: dict[str, Check]
    count_tokens: TokenCounter | None

    def __post_init__(self) -> None:
        self.places = Places()
        self.num_rows = 0

    def see(self, rows: Sequence[DataRow]) -> None:
        """Show some rows to all checks."""
        self.num_rows += len(rows)
        tokens = iter(self._tokens([row for row in rows if isinstance(row, PromptGroup)]))
        for row in rows:
            place = self.places.of(row.origin)
            if not isinstance(row, PromptGroup):
                for check in self.checks.values():
                    check.add_unusable(row, place)
                continue
            facts = facts_of(row, place, next(tokens))
            for check in self.checks.values():
                check.add(facts)

    def _tokens(self, groups: Sequence[PromptGroup]) -> Sequence[TokenCounts | None]:
        if self.count_tokens is None or not groups:
            return [None] * len(groups)
        try:
            return self.count_tokens(groups)
        except DataError:
            return [None] if len(groups) == 1 else [self._tokens([group])[0] for group in groups]

    def found(self) -> list[Found]:
        """What the checks found, in the order of the table, and rows that several of them blame."""
        found = {name: list(check.found()) for name, check in self.checks.items()}
        blamed = {
            name: [place for item in items for place in item.places]
            for name, items in found.items()
            if CHECKS[name].blames_rows
        }
        return [*(item for items in found.values() for item in items), *find_suspicious(blamed, self.num_rows)]


def _texts(read: Rows, found: Sequence[Found], places: Places) -> dict[Origin, str]:
    """Excerpts of the rows that are examples of something."""
    wanted = {places.origin(shown.place) for item in found for shown in _shown(item) if shown.text is None}
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


def _shown(found: Found) -> Sequence[Shown]:
    if found.examples is not None:
        return found.examples
    return [Shown(place) for place in islice(dict.fromkeys(found.places), NUM_EXAMPLES)]


def _finding(found: Found, places: Places, texts: Mapping[Origin, str], *, with_texts: bool) -> Finding:
    rows = list(dict.fromkeys(found.places))
    return Finding(
        check=found.check,
        severity=found.severity,
        title=found.title,
        count=found.count,
        total=found.total,
        unit=found.unit,
        why=found.why,
        advice=found.advice,
        examples=tuple(_example(shown, places, texts, with_text=with_texts) for shown in _shown(found)),
        rows=tuple(places.origin(place) for place in rows[:MOST_ROWS]),
        num_rows=len(rows),
        measures=found.measures,
    )


def _example(shown: Shown, places: Places, texts: Mapping[Origin, str], *, with_text: bool) -> Example:
    origin = places.origin(shown.place)
    text = texts.get(origin, "") if shown.text is None else shown.text
    note = shown.note if shown.like is None else f"like {places.origin(shown.like)}"
    return Example(origin, note, text if with_text else "")
