"""The plan: which groups make a step, and how a step is dealt to ranks and cut into micro-batches."""

from preftune.planning.sizes import TOKENS, GroupSize, Layout, WorkModel, sizes_of
from preftune.planning.step import MicroBatchShape, StepPlan, epoch_steps, plan_step
from preftune.planning.summary import PlanSummary, pace_text, summarise_plan, work_of_ranks

__all__ = [
    "TOKENS",
    "GroupSize",
    "Layout",
    "MicroBatchShape",
    "PlanSummary",
    "StepPlan",
    "WorkModel",
    "epoch_steps",
    "pace_text",
    "plan_step",
    "sizes_of",
    "summarise_plan",
    "work_of_ranks",
]
