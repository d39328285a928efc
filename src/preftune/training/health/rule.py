"""A rule on the health of a run, and the facts it reads."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from preftune.findings import Rule, Severity
from preftune.groups import Origin
from preftune.losses import Method
from preftune.losses.loss import Reward
from preftune.training.health.finding import HealthFinding
from preftune.training.health.history import History, Series

RUN_SEVERITIES: tuple[Severity, ...] = ("fatal", "sick", "suspect")
"""Severities of rules on a run, the worst first."""

ROUNDING = 1e-3
"""Relative difference of log-probs of an answer, plus as many nats, that rounding in bf16 explains."""

WINDOW = 64
"""Fewest pairs, completions or prompts in a mean over steps: its standard error is then an eighth of the standard
deviation of one."""


@dataclass(frozen=True, slots=True)
class Symptom:
    """Observation of a rule that fires.

    Args:
        text: The observation, with its numbers.
        size: Multiple of the threshold, at least 1.
    """

    text: str
    size: float


@dataclass(frozen=True, slots=True)
class TooLittle:
    """A rule's answer if it has too little to look at.

    Args:
        needs: Requirements of the rule, and their state.
    """

    needs: str


@dataclass(frozen=True, slots=True)
class RunFacts:
    """Facts of a run that rules need beside its metrics.

    Args:
        method: Method of the run.
        batch_size: Pairs, completions or prompts per step, as `method.counted` says.
        num_train, num_held_out: Number of these in the data.
        max_steps: Planned number of steps.
        starts_at_reference: True if policy and reference are equal at the start, so that all rewards begin at 0.
        num_samples: Samples drawn at an evaluation.
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
        return math.ceil(WINDOW / max(1, min(self.batch_size, self.num_train)))

    @property
    def steps_per_epoch(self) -> int:
        """Steps of one pass over the training data."""
        return math.ceil(self.num_train / self.batch_size)

    @property
    def reward(self) -> Reward | None:
        """Quantity that the implicit reward is proportional to; None without implicit reward."""
        part = self.method.rewarding
        return None if part is None else part.loss.reward

    @property
    def reward_scale(self) -> float:
        """Implicit reward per nat."""
        part = self.method.rewarding
        return 1.0 if part is None else part.reward_scale

    @property
    def compares(self) -> bool:
        """True if the method compares answers: pairs or lists."""
        return self.method.feedback in ("pairs", "lists")

    @property
    def rewards_begin_at_zero(self) -> bool:
        """True if implicit rewards measure the distance from a reference that the policy starts as."""
        return self.starts_at_reference and self.reward in ("logratio", "mean_logratio")

    def too_few_steps(self, history: History) -> TooLittle:
        """The answer of rules on means over the last window, in a shorter run."""
        needed = f"{self.window} steps, which hold {WINDOW} {self.method.counted}s" if self.window > 1 else "1 step"
        return TooLittle(f"{needed}; there were {history.step}")

    def recent(self, series: Series) -> float | None:
        """Mean over the last window; None if the run is shorter."""
        return series.mean_of_last(self.window)


Check = Callable[[History, RunFacts], Symptom | TooLittle | None]
"""Looks at the metrics so far; None if all is well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthRule(Rule):
    """One rule on the health of a run.

    Args:
        name: As in `health.json`.
        sees: The metrics it reads.
        threshold: When it fires, with its numbers.
        severity: Severity of a finding.
        needs: Runs it applies to.
        applies: True if it applies to a run.
        check: Looks at the metrics so far. A rule without one reads more than metrics, and ends the run itself.
        names_rows: True if the rows of the last step are to blame.
    """

    name: str
    sees: str
    threshold: str
    severity: Severity
    needs: str
    applies: Callable[[RunFacts], bool]
    check: Check | None = None
    names_rows: bool = False

    def finding(self, symptom: Symptom, step: int, rows: Sequence[Origin] = ()) -> HealthFinding:
        """The finding that a symptom makes at a step."""
        return HealthFinding(
            rule=self.name,
            severity=self.severity,
            title=self.title,
            text=symptom.text,
            advice=self.advice,
            step=step,
            worst_step=step,
            size=symptom.size,
            rows=tuple(map(str, rows)),
        )


AGAINST_REFERENCE = "methods with a reference that the policy starts as"


def always(run: RunFacts) -> bool:  # noqa: ARG001
    """Applies to every run."""
    return True


def against_reference(run: RunFacts) -> bool:
    """Applies if implicit rewards measure the distance from a reference that the policy starts as."""
    return run.rewards_begin_at_zero


def has_held_out(run: RunFacts) -> bool:
    """Applies if data are held out."""
    return run.num_held_out > 0
