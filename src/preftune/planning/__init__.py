"""The plan: which groups make a step, and how a step is dealt to ranks and cut into micro-batches."""

from preftune.planning.epoch import epoch_steps
from preftune.planning.sizes import GroupSize, sizes_of
from preftune.planning.step import Layout, MicroBatchShape, StepPlan, plan_step

__all__ = ["GroupSize", "Layout", "MicroBatchShape", "StepPlan", "epoch_steps", "plan_step", "sizes_of"]
