"""What a plan comes to, in a line: steps, micro-batches, and the tokens that sharing prompts saves."""

from collections.abc import Sequence
from dataclasses import dataclass

from preftune.planning.sizes import GroupSize
from preftune.planning.step import Layout, MicroBatchShape, plan_step

__all__ = ["PlanSummary", "summarise_plan"]


@dataclass(frozen=True, slots=True)
class PlanSummary:
    """One epoch of a plan.

    Args:
        num_steps: Optimizer steps.
        num_micro_batches: Forwards and backwards of one rank, empty ones included.
        num_tokens: Tokens that the model sees, padding included, over all ranks.
        padded_tokens: Tokens that it would see with a padded row per completion and the same micro-batches.
        balance: Work of all ranks over that of the busiest, times their number: 1 is perfect.
    """

    num_steps: int
    num_micro_batches: int
    num_tokens: int
    padded_tokens: int
    balance: float

    def __str__(self) -> str:
        """
        >>> str(PlanSummary(num_steps=3, num_micro_batches=6, num_tokens=1000, padded_tokens=2500, balance=1.0))
        '3 steps an epoch, 2.0 micro-batches each; 1,000 tokens an epoch (2,500 in padded rows)'
        """
        per_step = self.num_micro_batches / self.num_steps
        text = f"{self.num_steps:,} steps an epoch, {per_step:.1f} micro-batches each; {self.num_tokens:,} tokens"
        text += f" an epoch ({self.padded_tokens:,} in padded rows)"
        return text if self.balance == 1 else f"{text}; ranks balanced to {self.balance:.0%}".replace("%", " %")


def summarise_plan(
    steps: Sequence[Sequence[int]],
    sizes: Sequence[GroupSize],
    *,
    num_ranks: int,
    max_tokens: int,
    layout: Layout,
) -> PlanSummary:
    """Plan an epoch and add it up.

    Args:
        steps: Groups of each step, as `epoch_steps` gives them.
        sizes: Size of each group of the data set.
        num_ranks, max_tokens, layout: As for `plan_step`.
    """
    num_micro_batches = num_tokens = padded_tokens = 0
    done = busiest = 0.0
    for step in steps:
        plan = plan_step(step, sizes, num_ranks=num_ranks, max_tokens=max_tokens, layout=layout)
        shapes = [[_shape(groups, sizes) for groups in rank] for rank in plan.ranks]
        num_micro_batches += len(shapes[0])
        loads = [sum(shape.packed_tokens for shape in rank) for rank in shapes]
        done += sum(loads)
        busiest += max(loads) * num_ranks
        num_tokens += sum(shape.num_tokens(layout) for rank in shapes for shape in rank)
        padded_tokens += sum(shape.num_tokens("sequences") for rank in shapes for shape in rank)
    return PlanSummary(len(steps), num_micro_batches, num_tokens, padded_tokens, done / busiest)


def _shape(groups: Sequence[int], sizes: Sequence[GroupSize]) -> MicroBatchShape:
    shape = MicroBatchShape()
    for group in groups:
        shape = shape.with_group(sizes[group])
    return shape
