"""Groups and reports for tests of checks."""

from collections.abc import Iterable, Sequence
from typing import Any

from preftune.data.quality.check import CheckSettings, DataFinding
from preftune.data.quality.facts import TokenCounts
from preftune.data.quality.report import QualityReport
from preftune.data.quality.run import check_groups
from preftune.data.rows import DataRow
from preftune.errors import DataError
from preftune.groups import Completion, Origin, Pair, PromptGroup, Text

__all__ = ["by_word", "checked", "finding", "findings", "numbered", "pair", "scored", "thumb"]


def pair(prompt: Text, chosen: Text, rejected: Text, *, margin: float | None = None, row: int = 1) -> PromptGroup:
    """A pair."""
    return PromptGroup(prompt, (Completion(chosen), Completion(rejected)), (Pair(0, 1, margin),), Origin("prefs", row))


def scored(prompt: str, scores: dict[str, float], *, row: int = 1) -> PromptGroup:
    """A list of completions with scores."""
    completions = tuple(Completion(text, score) for text, score in scores.items())
    return PromptGroup(prompt, completions, (), Origin("prefs", row))


def thumb(prompt: str, text: str, desirable: bool, *, row: int = 1) -> PromptGroup:
    """A completion with a thumb."""
    return PromptGroup(prompt, (Completion(text, desirable=desirable),), (), Origin("prefs", row))


def numbered(groups: Iterable[PromptGroup]) -> list[PromptGroup]:
    """Groups with rows counted from 1."""
    return [
        PromptGroup(group.prompt, group.completions, group.pairs, Origin("prefs", row))
        for row, group in enumerate(groups, start=1)
    ]


def by_word(groups: Sequence[PromptGroup]) -> list[TokenCounts]:
    """A tokenizer whose tokens are words; it cannot do with the word "untokenizable"."""
    if any("untokenizable" in str(group.prompt) for group in groups):
        raise DataError("the tokenizer cannot do with it. Leave it out.")
    return [
        TokenCounts(len(str(group.prompt).split()), tuple(len(str(item.content).split()) for item in group.completions))
        for group in groups
    ]


def checked(
    rows: Sequence[DataRow], *only: str, settings: CheckSettings | None = None, **options: Any
) -> QualityReport:
    """A report on groups in memory."""
    return check_groups(lambda: rows, only=only, settings=settings, **options)


def findings(check: str, rows: Sequence[DataRow], settings: CheckSettings | None = None) -> list[DataFinding]:
    """What one check finds."""
    return [found for found in checked(rows, check, settings=settings).findings if found.rule == check]


def finding(check: str, rows: Sequence[DataRow], settings: CheckSettings | None = None) -> DataFinding:
    """The one thing that a check finds."""
    [found] = findings(check, rows, settings)
    return found
