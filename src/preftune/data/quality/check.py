"""A check on a data set, the rows of its texts, and the findings it drafts."""

from abc import ABC, abstractmethod
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from preftune.data.quality.facts import GroupFacts
from preftune.data.quality.histogram import Histogram
from preftune.data.quality.keys import KeyArray
from preftune.data.quality.texts import shortened
from preftune.data.rows import BadRow, LeftOut
from preftune.findings import Finding, Rule, Severity
from preftune.groups import Origin

NUM_EXAMPLES = 5
"""Rows shown with a finding."""

Need = Literal["tokenizer", "evaluation data"]
"""Further input of a check, beside the data."""


@dataclass(frozen=True, slots=True)
class Example:
    """A row that shows what a finding means.

    Args:
        origin: Source and row.
        note: A remark that quotes nothing of the data.
        text: A short excerpt; empty if texts were not requested.
    """

    origin: Origin
    note: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFinding(Finding):
    """One fault that a check found in a data set.

    Args:
        count: Number of faulty items.
        total: Number of items.
        unit: Kind of item: rows, pairs, prompts, completions or texts.
        reason: Why it matters.
        remedy: Options of `preftune clean` that remove such rows; empty if there are none.
        examples: Some of the rows.
        rows: The first rows concerned, at most `MOST_ROWS`; empty if no single row is to blame.
        num_rows: Number of all rows concerned.
        measures: Further numbers by name.

    >>> finding = DataFinding(
    ...     rule="duplicates", severity="warning", title="Rows that repeat an earlier row: 7", advice="", reason="",
    ...     count=7, total=100, unit="rows")
    >>> finding.share
    0.07
    """

    count: int
    total: int
    unit: str
    reason: str
    remedy: str = ""
    examples: tuple[Example, ...] = ()
    rows: tuple[Origin, ...] = ()
    num_rows: int = 0
    measures: Mapping[str, float | int | str] = field(default_factory=dict, hash=False)

    @property
    def share(self) -> float:
        """Count per total, in [0, 1]."""
        return self.count / self.total if self.total else 0.0


@dataclass(frozen=True, slots=True)
class DraftExample:
    """An example before its text is fetched.

    Args:
        place: Number of the row, see `Places`.
        note: As in `Example`.
        text: The part that matters, on one line; None for an excerpt of the row.
        like: Another row that this one resembles, which the note then names.
    """

    place: int
    note: str = ""
    text: str | None = None
    like: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A finding while the data are being read: its rows are numbers, and its examples have no text yet.

    Args:
        rule: The row of texts.
        severity, title, advice, remedy, count, total, measures: As in `DataFinding`.
        places: Numbers of all rows concerned; repeated ones count once.
        examples: The rows to show; by default the first of `places`.
    """

    rule: "CheckRule"
    severity: Severity
    title: str
    advice: str
    remedy: str
    count: int
    total: int
    places: Sequence[int]
    examples: Sequence[DraftExample] | None
    measures: Mapping[str, float | int | str] = field(hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRule(Rule):
    """One kind of finding of a check: its texts and its thresholds.

    Args:
        title, advice, remedy: May name values in braces: `{count}`, `{total}` and those given to `draft`.
        unit: Kind of item that is counted.
        warning, error: Share of the items from which the finding is a warning or an error; None: never.
        remedy: As in `DataFinding`.
    """

    unit: str
    advice: str = ""
    warning: float | None = None
    error: float | None = None
    remedy: str = ""

    def draft(
        self,
        count: int,
        total: int,
        places: Sequence[int] = (),
        *,
        severity: Severity | None = None,
        is_advised: bool = True,
        examples: Sequence[DraftExample] | None = None,
        measures: Mapping[str, float | int | str] | None = None,
        values: Mapping[str, object] | None = None,
    ) -> Draft:
        """A finding of this kind.

        Args:
            count, total, places, examples, measures: As in `Draft`.
            severity: By default that of the share.
            is_advised: If false, the advice and the remedy are left out.
            values: For the braces of the texts.

        >>> rule = CheckRule(title="Empty prompts: {count:,}", reason="", unit="rows", warning=0.0)
        >>> draft = rule.draft(1234, 5000)
        >>> draft.title, draft.severity
        ('Empty prompts: 1,234', 'warning')
        """
        filled = {"count": count, "total": total, **(values or {})}
        remedy = self.remedy.format(**filled)
        return Draft(
            rule=self,
            severity=severity or self.severity_of(count / total),
            title=self.title.format(**filled),
            advice=self.advice.format(remedy=remedy, **filled) if is_advised else "",
            remedy=remedy if is_advised else "",
            count=count,
            total=total,
            places=places,
            examples=examples,
            measures=measures or {},
        )

    def severity_of(self, share: float) -> Severity:
        """Severity of a share of faulty items."""
        if self.error is not None and share >= self.error:
            return "error"
        return "warning" if self.warning is not None and share >= self.warning else "note"


@dataclass(frozen=True, slots=True)
class CheckSettings:
    """Input of checks beside the data.

    Args:
        seed: Seed of samples and folds.
        max_length: Most tokens of a prompt and one completion together; None: no limit.
        special_tokens: Special tokens of the tokenizer; empty without a tokenizer.
        has_tokens: True if groups come with lengths in tokens.
        held_out: Keys of the prompts that are kept for evaluation, distinct and rising; None without such data.
            Shape: (prompt,).
    """

    seed: int = 0
    max_length: int | None = None
    special_tokens: tuple[str, ...] = ()
    has_tokens: bool = False
    held_out: KeyArray | None = None


class Check(ABC):
    """One pass over a data set in bounded memory: at most some bytes per row, never the texts of all rows.

    Args:
        settings: Input beside the data.
    """

    name: ClassVar[str]
    about: ClassVar[str]
    """Faults it looks for, in a few words."""
    needs: ClassVar[Need | None] = None
    blames_rows: ClassVar[bool] = True
    """True if its findings are faults of single rows, so that a row with several of them is suspicious."""

    @abstractmethod
    def __init__(self, settings: CheckSettings) -> None: ...

    @abstractmethod
    def add(self, facts: GroupFacts) -> None:
        """Process a group."""

    def add_unusable(self, row: BadRow | LeftOut, place: int) -> None:  # noqa: B027
        """Process a row that gives no group."""

    @abstractmethod
    def drafts(self) -> Iterator[Draft]:
        """Findings on all groups processed."""

    def histogram(self) -> Histogram | None:
        """A picture of all groups processed, if there is one."""
        return None


class FaultLog:
    """Numbers of faulty rows, 8 bytes each, and the first few as examples.

    >>> log = FaultLog()
    >>> log.add(7, text="the part that\\nmatters")
    >>> log.add(7)
    >>> len(log), log.examples
    (2, [DraftExample(place=7, note='', text='the part that matters', like=None)])
    """

    def __init__(self) -> None:
        self.places = array("Q")
        self.examples: list[DraftExample] = []

    def __len__(self) -> int:
        return len(self.places)

    def add(self, place: int, *, note: str = "", text: str | None = None) -> None:
        """Log a row, once for each fault it has.

        Args:
            place: Number of the row.
            note, text: As in `DraftExample`; the text is shortened.
        """
        self.places.append(place)
        if len(self.examples) < NUM_EXAMPLES and all(shown.place != place for shown in self.examples):
            self.examples.append(DraftExample(place, note, None if text is None else shortened(text, 100)))

    def draft(self, rule: CheckRule, total: int, **options: Any) -> Draft:
        """A finding on the logged rows. Options: as in `CheckRule.draft`."""
        return rule.draft(len(self), total, self.places, examples=self.examples, **options)
