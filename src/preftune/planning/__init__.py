"""The plan: which groups make a step, and how a step is dealt to ranks and cut into micro-batches."""

from preftune.planning.epoch import epoch_steps
from preftune.planning.sizes import GroupSize, sizes_of
from preftune.planning.step import Layout, MicroBatchShape, StepPlan, plan_step
from preftune.planning.summary import PlanSummary, summarise_plan

__all__ = [
    "GroupSize",
    "Layout",
    "MicroBatchShape",
    "PlanSummary",
    "StepPlan",
    "epoch_steps",
    "plan_step",
    "sizes_of",
    "summarise_plan",
]
