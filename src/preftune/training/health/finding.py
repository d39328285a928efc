"""A fault found in a run, and the error that ends a run for it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from preftune.errors import TrainingError
from preftune.findings import SEVERITIES, Finding

_SHOWN_ROWS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthFinding(Finding):
    """One fault that a rule found in a run.

    Args:
        text: Observation at its worst, with its numbers.
        step: Steps taken when it was first seen.
        worst_step: Steps taken when it was worst.
        size: Multiple of the threshold at its worst.
        rows: Origins of the rows to blame, if single rows are.

    >>> print(HealthFinding(
    ...     rule="margin", severity="suspect", title="the margin runs away", text="it is 12", advice="Lower --epochs.",
    ...     step=50, worst_step=60, size=1.2))
    health: suspect at step 60: the margin runs away: it is 12. Lower --epochs.
    """

    text: str
    step: int
    worst_step: int
    size: float
    rows: tuple[str, ...] = ()

    def __str__(self) -> str:
        return (
            f"health: {self.severity} at step {self.worst_step}: {self.title}: {self.text}. {self.advice}{self._places}"
        )

    @property
    def _places(self) -> str:
        if not self.rows:
            return ""
        more = ", ... (all in health.json)" if len(self.rows) > _SHOWN_ROWS else ""
        return f" Rows: {', '.join(self.rows[:_SHOWN_ROWS])}{more}"


@dataclass(frozen=True, slots=True)
class HealthRecord:
    """The content of `health.json`.

    Args:
        rules: Names of the rules that watched the run.
        not_applied: By name of each other rule, the runs that it applies to.
        too_short: Names of those among them that had too little to look at.
    """

    findings: tuple[HealthFinding, ...]
    rules: tuple[str, ...] = ()
    not_applied: Mapping[str, str] = field(default_factory=dict, hash=False)
    too_short: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The record in a sentence.

        >>> HealthRecord((), ("start", "flat"), {"gap": "all", "margin": "runs with 4 steps"}, ("margin",)).text
        'Health: no finding by 2 rules; too short to judge by 1 of 4 rules.'
        """
        rules = f" by {len(self.rules)} rule{'s' * (len(self.rules) != 1)}" if self.rules else ""
        short, total = len(self.too_short), len(self.rules) + len(self.not_applied)
        judged = f"{rules}; too short to judge by {short} of {total} rules" if short else rules
        if not self.findings:
            return f"Health: no finding{judged}."
        counts = Counter(finding.severity for finding in self.findings)
        named = ", ".join(f"{counts[name]} {name}" for name in SEVERITIES if counts[name])
        number = len(self.findings)
        return f"Health: {number} finding{'s' * (number != 1)} ({named}){judged}."


class SickRunError(TrainingError):
    """A run that must end because of a finding."""

    def __init__(self, message: str, finding: HealthFinding) -> None:
        super().__init__(message)
        self.finding = finding
