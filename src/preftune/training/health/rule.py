"""What a rule on the health of a run is."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from preftune.losses import Method
from preftune.losses.loss import Reward
from preftune.training.health.history import History, Series

__all__ = ["SEVERITIES", "Rule", "RunFacts", "Severity", "Symptom"]

Severity = Literal["fatal", "sick", "suspect"]
"""fatal: the run ends by itself, before the weights change. sick: what comes out will be no good, and `stop_on_sick`
ends the run. suspect: look into it before the result is used."""

SEVERITIES: tuple[Severity, ...] = ("fatal", "sick", "suspect")
"""The worst first."""

ROUNDING = 1e-3
"""Share of its log-prob by which policy and reference may differ in an answer, plus so many nats: what bf16 does."""

WINDOW = 64
"""Pairs, completions or prompts that a mean over steps is over, at least: its standard error is then an eighth of the
standard deviation of one."""


@dataclass(frozen=True, slots=True)
class Symptom:
    """That a rule has fired.

    Args:
        text: What was seen, with its numbers.
        size: How far beyond the threshold it is, as a multiple of it, at least 1.
    """

    text: str
    size: float


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What a rule must know of a run beside its metrics.

    Args:
        method: What it learns by.
        batch_size: What a step holds: pairs, completions or prompts, as `method.counted` says.
        num_train, num_held_out: How many of these there are in the data.
        max_steps: Steps that the run is planned to take.
        starts_at_reference: Whether policy and reference are equal at the start, so that all rewards begin at 0.
        num_samples: How many samples are drawn at an evaluation.
    """

    method: Method
    batch_size: int
    num_train: int
    num_held_out: int
    max_steps: int
    starts_at_reference: bool = True
    num_samples: int = 0

    @property
    def window(self) -> int:
        """Steps that hold at least `WINDOW` pairs, completions or prompts."""
        return math.ceil(WINDOW / self.batch_size)

    @property
    def steps_per_epoch(self) -> int:
        """Steps in which everything is learned from once."""
        return math.ceil(self.num_train / self.batch_size)

    @property
    def reward(self) -> Reward | None:
        """What the implicit reward is proportional to, where the method has one."""
        part = self.method.rewarding
        return None if part is None else part.loss.reward

    @property
    def reward_scale(self) -> float:
        """Implicit reward per nat."""
        part = self.method.rewarding
        return 1.0 if part is None else part.reward_scale

    @property
    def compares(self) -> bool:
        """Whether it learns which answer is better than which: by pairs, or lists."""
        return self.method.feedback in ("pairs", "lists")

    @property
    def rewards_begin_at_zero(self) -> bool:
        """Whether implicit rewards measure how far the policy has moved: against a reference that it began as."""
        return self.starts_at_reference and self.reward in ("logratio", "mean_logratio")

    def recent(self, series: Series) -> float | None:
        """Mean over the last window, or None where the run is shorter."""
        return series.mean_of_last(self.window)


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table of rules.

    Args:
        title: What is wrong when it fires, in a few words.
        sees: The metrics that it looks at.
        threshold: When it fires, with its numbers.
        reason: Why there.
        severity: How bad it is.
        advice: What to try, in words of our settings.
        needs: Which runs it applies to.
        applies: Whether it applies to a run.
        check: What it sees in the metrics so far, or None. A rule without one looks at more than metrics, and ends the
            run by itself.
        names_rows: Whether it is the rows of the last step that are to blame.
    """

    title: str
    sees: str
    threshold: str
    reason: str
    severity: Severity
    advice: str
    needs: str
    applies: Callable[[RunFacts], bool]
    check: Callable[[History, RunFacts], Symptom | None] | None = None
    names_rows: bool = False
