"""The rules on a run's health, as a report explains them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from preftune.report.run_record import RunRecord
from preftune.training.health.table import RULES

__all__ = ["HealthRule", "rules_of"]


@dataclass(frozen=True, slots=True)
class HealthRule:
    """A rule, and whether it looked at a run.

    Args:
        name: A key of `RULES`.
        title, severity, sees, threshold, reason: As in `Rule`.
        not_applied: Which runs it is for, if this is none of them.
        has_fired: Whether it found something.
    """

    name: str
    title: str
    severity: str
    sees: str
    threshold: str
    reason: str
    not_applied: str
    has_fired: bool


def rules_of(run: RunRecord) -> Iterator[HealthRule]:
    """The rules of this version that looked at the run or did not apply to it; none without a health record."""
    health: Mapping[str, Any] = run.health or {}
    fired = {finding["rule"] for finding in run.findings}
    for name, rule in RULES.items():
        if name in health.get("rules", ()) or name in health.get("not_applied", {}) or name in fired:
            yield HealthRule(
                name,
                rule.title,
                rule.severity,
                rule.sees,
                rule.threshold,
                rule.reason,
                health.get("not_applied", {}).get(name, ""),
                name in fired,
            )
