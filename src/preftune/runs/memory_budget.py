"""Measurements of a run: the token budget that fits into memory, and the time a run takes."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from peft import PeftModel
from torch import nn
from transformers import PreTrainedModel, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from typing_extensions import override

from preftune.data.tokens.token_group import TokenGroup
from preftune.errors import ConfigError, TrainingError
from preftune.files.number_text import bytes_text, duration_text
from preftune.model.forward.arithmetic import Arithmetic
from preftune.model.forward.packed_batch import pack
from preftune.model.load.device_memory import DeviceMemory, memory_of
from preftune.planning.sizes import GroupSize, Layout, WorkModel, sizes_of
from preftune.planning.step import MicroBatchShape
from preftune.planning.summary import few_steps_text, pace_text
from preftune.runs.arguments import checkpointing_argument
from preftune.training.objective import Objective
from preftune.training.out_of_memory import is_out_of_memory, ways_out_of_memory
from preftune.training.step_values import measure
from preftune.training.steps import StepSource

_MEASURED_STEPS = 2


class Pace(TrainerCallback):
    """Prints advice on a short run, and after two steps the expected time of a step and of the steps that are left.

    seconds per step = mean work of a step * least seconds per work of the two

    Steps differ in length, so time is carried over by their work. The faster of the two counts, because the first one
    claims memory and loads kernels. Evaluating and saving come on top.

    Args:
        work_per_step: Mean work of the steps of an epoch.
    """

    def __init__(self, steps: StepSource, work_per_step: float, say: Callable[[str], None]) -> None:
        self._steps = steps
        self._work_per_step = work_per_step
        self._say = say
        self._seconds_per_work: list[float] = []

    @override
    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        advice = None if args.max_steps > 0 else few_steps_text(state.max_steps, len(self._steps))
        if advice is not None and state.is_world_process_zero:
            self._say(advice)

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
            num_left = state.max_steps - state.global_step
            if num_left > 0:
                self._say(run_time_text(min(self._seconds_per_work) * self._work_per_step, num_left))


def run_time_text(seconds_per_step: float, num_steps: int) -> str:
    """Expected times as a line.

    >>> run_time_text(1.4, 128)
    'pace: about 1.4 s a step, 2 min 59 s for the 128 steps left'
    """
    steps = "step" if num_steps == 1 else f"{num_steps:,} steps"
    return f"pace: {pace_text(seconds_per_step)}, {duration_text(num_steps * seconds_per_step)} for the {steps} left"


def seconds_now(device: torch.device) -> float:
    """Time in seconds after the device has finished its queued work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


_MARGIN = 0.15
"""Share of the free memory that stays free: measurements vary, and the allocator loses some to fragmentation."""
_MOST_ON_CPU = 16_384
"""More would take memory and save no time: with 6 layers of width 256, a core did 1,985 tokens a second in rows of
1,000, 2,001 in rows of 8,000 and 1,777 in rows of 32,000."""
_ROW_TOKENS = {"cuda": 8192, "cpu": 2048}
"""Minimum number of tokens to measure, if the data have as many: the fixed part should be small beside them."""
_ROUND_TO = 256


@dataclass(frozen=True, slots=True)
class MeasuredBudget:
    """A token budget and the measurements behind it.

    Args:
        free_bytes: Memory for activations, before the margin.
        is_capped: True if there is memory for more tokens, which would not be faster.
        work_per_second: Speed of the measurement, in the unit of the work model.
    """

    max_tokens: int
    bytes_per_token: float
    free_bytes: int
    is_capped: bool
    work_per_second: float

    def __str__(self) -> str:
        """
        >>> str(MeasuredBudget(12_288, 3.1 * 2**20, 21 * 2**30, is_capped=False, work_per_second=1e12))
        '12,288 (auto: 3.1 MiB a token, 21 GiB free)'
        """
        text = (
            f"{self.max_tokens:,} (auto: {bytes_text(self.bytes_per_token)} a token, {bytes_text(self.free_bytes)} free"
        )
        return text + ("; more is not faster on a CPU)" if self.is_capped else ")")


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """Memory of a forward and backward above that of the model and its gradients: fixed + per_token * tokens."""

    fixed: float
    per_token: float

    @staticmethod
    def through(few: tuple[int, int], many: tuple[int, int]) -> "MemoryUse":
        """The line through two measurements of (tokens, bytes); never below one of them.

        The fixed part is 0 if the two do not define a rising line: equal tokens, or fewer bytes for more tokens, as
        happens by chance with a tiny model.

        >>> MemoryUse.through((100, 700), (300, 1500))
        MemoryUse(fixed=300.0, per_token=4.0)
        >>> MemoryUse.through((100, 200), (300, 1500))
        MemoryUse(fixed=0.0, per_token=6.5)
        """
        (tokens, used), (more_tokens, more_used) = few, many
        if more_tokens <= tokens or more_used <= used:
            return MemoryUse(0.0, max(used / tokens, more_used / more_tokens, 1.0))
        slope = (more_used - used) / (more_tokens - tokens)
        return MemoryUse(max(0.0, used - slope * tokens), slope)

    def tokens_in(self, num_bytes: float) -> int:
        """Number of tokens that fit into `num_bytes`."""
        return max(0, int((num_bytes - self.fixed) / self.per_token))


def measure_budget(
    model: PreTrainedModel | PeftModel,
    objective: Objective,
    groups: Sequence[TokenGroup],
    arguments: TrainingArguments,
    *,
    work: WorkModel,
) -> MeasuredBudget:
    """Measure how many tokens memory holds, by forward and backward on the biggest group and on a row of several.

    budget = (0.85 * (free memory - optimizer state - gradients not there yet) - fixed bytes) / bytes per token

    The optimizer is taken for AdamW: two numbers of the weight's type per trainable weight, which is 8 bytes for
    float32. Gradients are in place during the measurement; several processes hold them once more, in the buckets in
    which they are exchanged. On a CPU the budget is 16,384 at most, because more is not faster there. It is never below
    the biggest group, and the same on all ranks. Weights, gradients and random numbers are afterwards as before.

    Args:
        model: The policy, on the device of training, not wrapped.
        objective: Computes a step. Its reference is run as well, if it is a model.
    Raises:
        ConfigError: the model will be sharded, or the device is one whose memory cannot be measured.
        TrainingError: memory does not suffice for the biggest group.
    """
    if arguments.fsdp or arguments.deepspeed:
        raise ConfigError(
            [
                "max_tokens_per_microbatch = auto: cannot be measured for a model that is sharded over processes, "
                "which it is only once training has begun. Give a number instead."
            ]
        )
    ordered = _Ordered.of(groups, objective.forward.layout)
    try:
        own = _measure(model, objective, ordered, arguments, work)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise TrainingError(
            f"out of memory on {ordered.biggest:,} tokens, while memory was measured. "
            + ways_out_of_memory(ordered.biggest)
        ) from error
    budgets: list[MeasuredBudget] = gather_object([own])
    return min(budgets, key=lambda budget: budget.max_tokens)


@dataclass(frozen=True, slots=True)
class _Ordered:
    """Groups, the biggest first, and the layout of the forward."""

    groups: tuple[TokenGroup, ...]
    layout: Layout

    @staticmethod
    def of(groups: Sequence[TokenGroup], layout: Layout) -> "_Ordered":
        ordered = sorted(groups, key=lambda group: -MicroBatchShape.of([GroupSize.of(group)]).num_tokens(layout))
        return _Ordered(tuple(ordered), layout)

    def num_tokens(self, groups: Sequence[TokenGroup]) -> int:
        return MicroBatchShape.of(sizes_of(groups)).num_tokens(self.layout)

    @property
    def biggest(self) -> int:
        return self.num_tokens(self.groups[:1])

    def row(self, wanted: int, most: float) -> list[TokenGroup]:
        """The biggest groups that make `wanted` tokens; at most `most` unless the first group alone has more."""
        row = [self.groups[0]]
        for group in self.groups[1:]:
            if self.num_tokens(row) >= wanted or self.num_tokens([*row, group]) > most:
                break
            row.append(group)
        return row


def _measure(
    model: PreTrainedModel | PeftModel,
    objective: Objective,
    ordered: _Ordered,
    arguments: TrainingArguments,
    work: WorkModel,
) -> MeasuredBudget:
    device = arguments.device
    trial = _Trial(model, objective, Arithmetic.of_arguments(arguments), memory_of(device))
    with _as_in_training(model, arguments):
        trial.run(ordered.groups[-1:])  # brings gradients and workspaces into being
        in_use, free = trial.memory.used(), trial.memory.free() - _bytes_to_come(model)
        alone = trial.peak(ordered.groups[:1]) - in_use
        usable = (1 - _MARGIN) * free
        most = usable / max(1.0, alone / ordered.biggest)
        row = ordered.row(max(2 * ordered.biggest, _ROW_TOKENS[device.type]), most)
        together = trial.peak(row) - in_use
    use = MemoryUse.through((ordered.biggest, alone), (ordered.num_tokens(row), together))
    fits = use.tokens_in(usable)
    budget = min(fits, _MOST_ON_CPU) if device.type == "cpu" else fits
    return MeasuredBudget(
        max_tokens=max(ordered.biggest, budget // _ROUND_TO * _ROUND_TO or budget),
        bytes_per_token=use.per_token,
        free_bytes=max(0, free),
        is_capped=max(budget, ordered.biggest) < fits,
        work_per_second=work.of_groups(sizes_of(row), ordered.layout) / trial.seconds,
    )


@dataclass(slots=True, eq=False)
class _Trial:
    """Runs groups as a micro-batch of training. The loss is left out: its memory is small beside its inputs.

    `seconds` is the time of the last run.
    """

    model: PreTrainedModel | PeftModel
    objective: Objective
    arithmetic: Arithmetic
    memory: DeviceMemory
    seconds: float = 0.0

    def peak(self, groups: Sequence[TokenGroup]) -> int:
        """Peak memory in use during a run. Unit: bytes."""
        return self.memory.peak_used(lambda: self.run(groups))

    def run(self, groups: Sequence[TokenGroup]) -> None:
        started = seconds_now(self.arithmetic.device)
        batch = pack(groups).to(self.arithmetic.device)
        objective = self.objective
        with self.arithmetic.context():
            values = measure(objective.method, objective.reference, objective.forward, self.model, batch)
        torch.stack([value.sum() for value in values.differentiable.values()]).sum().backward()
        self.seconds = seconds_now(self.arithmetic.device) - started


def _bytes_to_come(model: nn.Module) -> int:
    """Memory of training beside activations: the state of AdamW, and gradient buckets with several ranks."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    copies = 2 if PartialState().num_processes == 1 else 3
    return copies * sum(weight.numel() * weight.element_size() for weight in weights)


@contextmanager
def _as_in_training(model: PreTrainedModel | PeftModel, arguments: TrainingArguments) -> Iterator[None]:
    """Set modes and recomputation as the trainer does; afterwards restore them and drop all gradients."""
    modes = [(module, module.training) for module in model.modules()]
    checkpointing = checkpointing_argument()
    recomputes = getattr(arguments, checkpointing)
    devices = [arguments.device] if arguments.device.type == "cuda" else []
    model.train()
    if recomputes:
        name = f"{checkpointing}_kwargs"
        getattr(model, f"{checkpointing}_enable")(**{name: getattr(arguments, name)})
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        model.zero_grad(set_to_none=True)
        if recomputes:
            getattr(model, f"{checkpointing}_disable")()
        for module, training in modes:
            module.training = training
