"""A fault found in a run, and the error that ends a run for it."""

from dataclasses import dataclass

from preftune.errors import TrainingError
from preftune.findings import Finding

__all__ = ["HealthFinding", "SickRunError"]

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


class SickRunError(TrainingError):
    """A run that must end because of a finding."""

    def __init__(self, message: str, finding: HealthFinding) -> None:
        super().__init__(message)
        self.finding = finding
