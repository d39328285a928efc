"""How long a run will take, said once its first steps have shown it."""

import time
from collections.abc import Callable
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from typing_extensions import override

from preftune.planning import pace_text
from preftune.runs.result import duration_text
from preftune.training.steps import StepDataset

__all__ = ["Pace", "seconds_now"]

_MEASURED_STEPS = 2


class Pace(TrainerCallback):
    """After two steps, a line on how long a step and the run take, on the main process.

    seconds per step = mean work of a step * least seconds per work of the two

    Steps differ in length, so time is carried over by their work. The faster of the two counts, because the first one
    claims memory and loads kernels. Evaluating and saving come on top.

    Args:
        steps: What is trained on.
        work_per_step: Mean over the steps of an epoch, as its plan says.
        say: Takes the line.
    """

    def __init__(self, steps: StepDataset, work_per_step: float, say: Callable[[str], None]) -> None:
        self._steps = steps
        self._work_per_step = work_per_step
        self._say = say
        self._seconds_per_work: list[float] = []

    @override
    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if len(self._seconds_per_work) < _MEASURED_STEPS:
            self._began = seconds_now(args.device)

    @override
    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if len(self._seconds_per_work) == _MEASURED_STEPS:
            return
        work = self._steps.work((state.global_step - 1) % len(self._steps))
        self._seconds_per_work.append((seconds_now(args.device) - self._began) / work)
        if len(self._seconds_per_work) == _MEASURED_STEPS and state.is_world_process_zero:
            self._say(run_time_text(min(self._seconds_per_work) * self._work_per_step, state.max_steps))


def run_time_text(seconds_per_step: float, num_steps: int) -> str:
    """The line.

    >>> run_time_text(1.4, 128)
    'pace: about 1.4 s a step, 2 min 59 s for 128 steps'
    """
    return f"pace: {pace_text(seconds_per_step)}, {duration_text(num_steps * seconds_per_step)} for {num_steps:,} steps"


def seconds_now(device: torch.device) -> float:
    """The clock's seconds, when the device has done what it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
