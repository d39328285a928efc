"""Summary of a plan in one line: steps, micro-batches, tokens, padding, balance and seconds per step."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from preftune.planning.sizes import TOKENS, GroupSize, Layout, WorkModel
from preftune.planning.step import MicroBatchShape, StepPlan, plan_step


@dataclass(frozen=True, slots=True)
class PlanSummary:
    """One epoch of a plan.

    Batches that only keep a rank in step with the others are counted as micro-batches, but not as tokens and work.

    Args:
        num_steps: Optimizer steps.
        num_micro_batches: Forwards and backwards of one rank, empty ones included.
        num_tokens: Tokens that the model sees, padding included, over all ranks.
        padded_tokens: Tokens that it would see with a padded row per completion and the same micro-batches.
        padding_waste: Share of `num_tokens` that are padding.
        balance: Work of all ranks over that of the busiest, times their number: 1 is perfect.
        work_per_step: Work of the busiest rank, mean over steps, in the unit of the work model.
        seconds_per_step: Predicted, or None while no speed is known.
    """

    num_steps: int
    num_micro_batches: int
    num_tokens: int
    padded_tokens: int
    padding_waste: float
    balance: float
    work_per_step: float
    seconds_per_step: float | None = None

    def at_speed(self, work_per_second: float) -> "PlanSummary":
        """The same plan, with the time of a step as it follows from a rank's speed."""
        return replace(self, seconds_per_step=self.work_per_step / work_per_second)

    def __str__(self) -> str:
        """
        >>> plan = PlanSummary(3, 6, num_tokens=1000, padded_tokens=2500, padding_waste=0, balance=1, work_per_step=8)
        >>> str(plan)
        '3 steps an epoch, 2.0 micro-batches each; 1,000 tokens an epoch (2,500 in padded rows), no padding'
        >>> str(replace(plan, padded_tokens=1000, padding_waste=0.3, balance=0.9).at_speed(5.0)).split("; ")[1:]
        ['1,000 tokens an epoch, 30 % padding', 'ranks balanced to 90 %', 'about 1.6 s a step']
        """
        per_step = self.num_micro_batches / self.num_steps
        steps = "step" if self.num_steps == 1 else "steps"
        text = f"{self.num_steps:,} {steps} an epoch, {per_step:.1f} micro-batches each; {self.num_tokens:,} tokens"
        text += " an epoch" + (f" ({self.padded_tokens:,} in padded rows)" if self._shares_prompts else "")
        text += f", {_percent(self.padding_waste)} padding" if self.padding_waste else ", no padding"
        if self.balance < 1:
            text += f"; ranks balanced to {_percent(self.balance)}"
        return text if self.seconds_per_step is None else f"{text}; {pace_text(self.seconds_per_step)}"

    @property
    def _shares_prompts(self) -> bool:
        return self.num_tokens != self.padded_tokens


def summarise_plan(
    steps: Sequence[Sequence[int]],
    sizes: Sequence[GroupSize],
    *,
    num_ranks: int,
    max_tokens: int,
    layout: Layout,
    work: WorkModel = TOKENS,
) -> PlanSummary:
    """Plan an epoch and add it up.

    Args:
        steps: Groups of each step, as `epoch_steps` gives them.
        sizes: Size of each group of the data set.
        num_ranks, max_tokens, layout, work: As for `plan_step`.
    """
    num_micro_batches = num_tokens = padded_tokens = unpadded_tokens = 0
    done = busiest = 0.0
    for step in steps:
        plan = plan_step(step, sizes, num_ranks=num_ranks, max_tokens=max_tokens, layout=layout, work=work)
        num_micro_batches += len(plan.ranks[0])
        loads = work_of_ranks(plan, sizes, layout, work)
        done += sum(loads)
        busiest += max(loads)
        shapes = [MicroBatchShape.of(sizes[group] for group in groups) for rank in plan.ranks for groups in rank]
        num_tokens += sum(shape.num_tokens(layout) for shape in shapes)
        padded_tokens += sum(shape.num_tokens("sequences") for shape in shapes)
        unpadded_tokens += sum(sizes[group].unpadded_tokens(layout) for group in step)
    return PlanSummary(
        num_steps=len(steps),
        num_micro_batches=num_micro_batches,
        num_tokens=num_tokens,
        padded_tokens=padded_tokens,
        padding_waste=1 - unpadded_tokens / num_tokens,
        balance=done / (busiest * num_ranks),
        work_per_step=busiest / len(steps),
    )


def work_of_ranks(plan: StepPlan, sizes: Sequence[GroupSize], layout: Layout, work: WorkModel) -> list[float]:
    """Work of each rank in a step, padding included: the step takes as long as the one that has most."""
    return [
        sum(work.of_groups([sizes[group] for group in groups], layout) for groups in micro_batches)
        for micro_batches in plan.ranks
    ]


def pace_text(seconds_per_step: float) -> str:
    """The time of a step in words.

    >>> pace_text(1.44), pace_text(0.0214), pace_text(84)
    ('about 1.4 s a step', 'about 0.021 s a step', 'about 1.4 min a step')
    """
    is_short = seconds_per_step < 60
    return f"about {seconds_per_step:.2g} s a step" if is_short else f"about {seconds_per_step / 60:.1f} min a step"


_FEW_STEPS = 20
"""At the learning rates of preference tuning, fewer steps of Adam move log-probs by little."""


def few_steps_text(num_steps: int, steps_per_epoch: int) -> str | None:
    """Advice for a run of few steps; None for a longer one.

    >>> few_steps_text(3, 3)
    'plan: only 3 steps in all, which rarely teach much. --epochs 7 makes 21; a smaller --batch-size makes more, too'
    >>> few_steps_text(1, 1)
    'plan: only 1 step in all, which rarely teaches much. --epochs 20 makes 20; a smaller --batch-size makes more, too'
    >>> few_steps_text(20, 5) is None
    True
    """
    if num_steps >= _FEW_STEPS:
        return None
    epochs = math.ceil(_FEW_STEPS / steps_per_epoch)
    steps, teach = ("step", "teaches") if num_steps == 1 else ("steps", "teach")
    return (
        f"plan: only {num_steps} {steps} in all, which rarely {teach} much. --epochs {epochs} makes "
        f"{epochs * steps_per_epoch}; a smaller --batch-size makes more, too"
    )


def _percent(share: float) -> str:
    """
    >>> _percent(0.853)
    '85 %'
    """
    return f"{share:.0%}".replace("%", " %")
