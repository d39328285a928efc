"""The plan: groups of a step, their assignment to ranks, and the micro-batches of each rank."""

from preftune.planning.sizes import TOKENS, GroupSize, Layout, WorkModel, sizes_of
from preftune.planning.step import MicroBatchShape, StepPlan, epoch_steps, plan_step
from preftune.planning.summary import PlanSummary, few_steps_text, pace_text, summarise_plan, work_of_ranks

__all__ = [
    "TOKENS",
    "GroupSize",
    "Layout",
    "MicroBatchShape",
    "PlanSummary",
    "StepPlan",
    "WorkModel",
    "epoch_steps",
    "few_steps_text",
    "pace_text",
    "plan_step",
    "sizes_of",
    "summarise_plan",
    "work_of_ranks",
]
