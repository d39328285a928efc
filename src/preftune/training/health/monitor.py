"""All rules on one run: logs in, findings out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from preftune.groups import Origin
from preftune.training.health.finding import HealthFinding, HealthRecord
from preftune.training.health.history import History
from preftune.training.health.rule import HealthRule, RunFacts, Symptom, TooLittle
from preftune.training.health.table import RULES

_NO_LOGS = "logged metrics; there were none yet"
_WORSE = 2.0
"""A finding is reported again when it is this many times worse than when last reported."""


class HealthMonitor:
    """Findings of the rules that apply to a run.

    They are a function of the logs alone, so a resumed run that reads the old logs reaches the same findings.

    Args:
        run: Facts of the run beside its metrics.
    """

    def __init__(self, run: RunFacts) -> None:
        self._run = run
        self._history = History()
        self._reported: dict[str, float] = {}
        self._found: dict[str, HealthFinding] = {}
        self._lacks: dict[str, str] = {}
        self._judging: set[str] = set()
        self.rules: Mapping[str, HealthRule] = {name: rule for name, rule in RULES.items() if rule.applies(run)}

    @property
    def findings(self) -> tuple[HealthFinding, ...]:
        """All findings, one per rule, in the order of the table."""
        return tuple(self._found[name] for name in RULES if name in self._found)

    @property
    def record(self) -> HealthRecord:
        """The findings, the rules that could judge, and the reason of each other rule why it could not."""
        able = [name for name, rule in self.rules.items() if rule.check is None or name in self._judging]
        short = {name: self._lacks.get(name, _NO_LOGS) for name in self.rules if name not in able}
        others = {name: rule.needs for name, rule in RULES.items() if name not in self.rules}
        not_applied = {**others, **{name: f"runs with {needs}" for name, needs in short.items()}}
        return HealthRecord(self.findings, tuple(able), not_applied, tuple(short))

    def see(
        self, step: int, logs: Mapping[str, Any], rows: Callable[[], Sequence[Origin]] = tuple
    ) -> list[HealthFinding]:
        """Process the metrics logged after `step` steps.

        Args:
            step: Optimizer steps taken.
            logs: Metrics by name.
            rows: Returns the origins of the rows of the last step, for rules that name them.
        Returns:
            Findings that are new, or twice as bad as when last reported.
        """
        self._history.add(step, logs)
        news = []
        for name, rule in self.rules.items():
            symptom = rule.check(self._history, self._run) if rule.check is not None else None
            if isinstance(symptom, TooLittle):
                self._lacks[name] = symptom.needs
                continue
            self._judging.add(name)
            if symptom is not None:
                finding = self._note(name, step, symptom, rows if rule.names_rows else tuple)
                if finding is not None:
                    news.append(finding)
        return news

    def blame(self, rows: Mapping[str, Sequence[str]]) -> None:
        """Name the rows to blame by rule, which logs do not have."""
        for name, own in rows.items():
            if name in self._found:
                self._found[name] = replace(self._found[name], rows=tuple(own))

    def add(self, finding: HealthFinding) -> None:
        """Add the finding of a rule that ended the run itself."""
        self._found[finding.rule] = finding

    def _note(
        self, name: str, step: int, symptom: Symptom, rows: Callable[[], Sequence[Origin]]
    ) -> HealthFinding | None:
        before, rule = self._found.get(name), self.rules[name]
        if before is not None and symptom.size <= before.size:
            return None
        finding = rule.finding(symptom, step, rows())
        if before is not None:
            finding = replace(finding, step=before.step)
        self._found[name] = finding
        if symptom.size < _WORSE * self._reported.get(name, 0.0):
            return None
        self._reported[name] = symptom.size
        return finding
