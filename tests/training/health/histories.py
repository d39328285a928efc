"""Logs and runs written by hand, to look at rules without a model."""

from collections.abc import Mapping, Sequence
from typing import Any

from preftune.losses import Method
from preftune.runs.result import RunResult
from preftune.training.health.finding import HealthFinding
from preftune.training.health.history import History
from preftune.training.health.rule import RunFacts

__all__ = ["facts", "found", "history_of"]


def history_of(
    steps: Sequence[Mapping[str, float]], held_out: Mapping[int, Mapping[str, float]] | None = None
) -> History:
    """A log line per step, and evaluations by the step they come after; what lacks a loss is given one."""
    history = History()
    evaluations = dict(held_out or {})
    for step, logs in enumerate([{}, *steps]):
        if step:
            history.add(step, {"loss": 0.5, **logs})
        if step in evaluations:
            history.add(step, {f"eval_{name}": value for name, value in {"loss": 0.5, **evaluations[step]}.items()})
    return history


def facts(method: str = "dpo", **changes: Any) -> RunFacts:
    """A run of 40 steps of 64 pairs, an epoch of 20 steps, with 100 pairs held out."""
    defaults: dict[str, Any] = {"batch_size": 64, "num_train": 1280, "num_held_out": 100, "max_steps": 40}
    return RunFacts(Method.named(method), **{**defaults, **changes})


def found(result: RunResult, rule: str) -> HealthFinding | None:
    """What a rule found in a run."""
    return next((finding for finding in result.health if finding.rule == rule), None)
