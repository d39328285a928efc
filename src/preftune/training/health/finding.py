"""What a rule found in a run."""

from dataclasses import dataclass

from preftune.errors import TrainingError
from preftune.training.health.rule import Severity

__all__ = ["Finding", "SickRunError"]

_SHOWN_ROWS = 4


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a run.

    Args:
        rule: Name of the rule, a key of `RULES`.
        severity: How bad it is.
        title: What is wrong, in a few words.
        text: What was seen when it was worst, with its numbers.
        advice: What to try.
        step: Steps taken when it was seen first.
        worst_step: Steps taken when it was worst.
        size: How far beyond the threshold it was then, as a multiple of it.
        rows: Where the rows to blame come from, where single rows are.

    >>> print(Finding("margin", "suspect", "the margin runs away", "it is 12", "Lower --epochs.", 50, 60, 1.2))
    health: suspect at step 60: the margin runs away: it is 12. Lower --epochs.
    """

    rule: str
    severity: Severity
    title: str
    text: str
    advice: str
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


class SickRunError(TrainingError):
    """A run that must not go on, for what a rule found."""

    def __init__(self, message: str, finding: Finding) -> None:
        super().__init__(message)
        self.finding = finding
