"""What a check has to say about a data set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from preftune.groups import Origin

__all__ = ["NUM_EXAMPLES", "SEVERITIES", "Example", "Finding", "Found", "Severity", "Shown", "severity_of"]

Severity = Literal["error", "warning", "note"]
"""Train on it only when it is put right; look into it first; good to know."""

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""The worst first."""

NUM_EXAMPLES = 5
"""As many rows are shown of a finding."""


def severity_of(share: float, *, warning: float = 2.0, error: float = 2.0) -> Severity:
    """How bad a share is: a note below `warning`, an error from `error` on. A bound above 1 is never reached.

    >>> severity_of(0.02, warning=0.01, error=0.1)
    'warning'
    """
    return "error" if share >= error else "warning" if share >= warning else "note"


@dataclass(frozen=True, slots=True)
class Example:
    """A row that shows what a finding means.

    Args:
        origin: Where it is.
        note: What is to be said about it, without a word of the data.
        text: A short excerpt; empty where texts are not wanted.
    """

    origin: Origin
    note: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a check found.

    Args:
        check: Name of the check, a key of `CHECKS`.
        severity: How bad it is.
        title: What was found, with its numbers.
        count: How many; of what, `unit` says.
        total: Of how many.
        unit: What is counted: rows, pairs, prompts or completions.
        why: Why it matters.
        advice: What to do about it; empty where there is nothing to do.
        examples: Some of the rows.
        rows: The first rows concerned, at most `MOST_ROWS`; none where single rows are not to blame.
        num_rows: How many rows are concerned in all.
        measures: Further numbers by name.

    >>> found = Finding("duplicates", "warning", "Rows that repeat an earlier row: 7", 7, 100, "rows", "", "")
    >>> found.share
    0.07
    """

    check: str
    severity: Severity
    title: str
    count: int
    total: int
    unit: str
    why: str
    advice: str
    examples: tuple[Example, ...] = ()
    rows: tuple[Origin, ...] = ()
    num_rows: int = 0
    measures: Mapping[str, float | int | str] = field(default_factory=dict, hash=False)

    @property
    def share(self) -> float:
        """Count per total, between 0 and 1."""
        return self.count / self.total if self.total else 0.0


@dataclass(frozen=True, slots=True)
class Shown:
    """A row to show as an example.

    Args:
        place: Of the row.
        note: What is to be said about it, without a word of the data.
        text: The part of it that matters, on one line; None for an excerpt of the whole.
        like: Place of another row that it is like, which the note then names.
    """

    place: int
    note: str = ""
    text: str | None = None
    like: int | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A finding while the data are being read: rows are places, a number each, and examples have no text yet.

    Args:
        check, severity, title, count, total, unit, why, advice, measures: As in `Finding`.
        places: All rows concerned, a place each; several times the same is once.
        examples: The rows to show; the first five of `places` if not given.
    """

    check: str
    severity: Severity
    title: str
    count: int
    total: int
    unit: str
    why: str
    advice: str
    places: Sequence[int] = ()
    examples: Sequence[Shown] | None = None
    measures: Mapping[str, float | int | str] = field(default_factory=dict, hash=False)
