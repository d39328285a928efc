"""Overhead of the trainer: its step against a bare loop with the same computation, and a profile of its time."""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import logsigmoid
from transformers import PreTrainedModel, TrainerCallback, TrainingArguments
from typing_extensions import override

from benchmarks.machine import this_machine
from benchmarks.options import Options
from benchmarks.results import Result, Row
from benchmarks.turns import Times, in_turn
from benchmarks.workloads import FULL, SMOKE, WORKLOADS, Workload, make_groups, make_model
from preftune.data.tokens.token_group import TokenGroup
from preftune.losses import Method
from preftune.model.forward.forward import completion_logps
from preftune.model.forward.packed import PackedForward
from preftune.model.forward.packed_batch import pack
from preftune.model.reference.cached import Cached
from preftune.training.objective import Objective
from preftune.training.steps import Batching, StepDataset
from preftune.training.trainer import PreferenceTrainer

__all__ = ["run", "workload_names"]

BETA, LEARNING_RATE = 0.1, 1e-6
STEPS_PER_TURN = 4
TRAINER, BARE = "trainer", "bare loop"
PARTS = ("forward and loss", "backward", "clipping", "optimizer")


def workload_names() -> list[str]:
    """Names that `--only` accepts."""
    return [f"{name}-{dtype}" for name in ("hh", "long-prompt") for dtype in ("bf16", "fp32")]


def run(name: str, options: Options) -> Result:
    """Measure one workload in one precision."""
    workload, size = WORKLOADS[name.rpartition("-")[0]], FULL
    if options.smoke:
        workload, size = workload.shrunk(factor=16, num_prompts=2), SMOKE
    bf16 = name.endswith("-bf16")
    lengths = [(prompt, tuple(answers)) for prompt, *answers in workload.lengths]
    groups = make_groups(lengths, size.vocabulary_size)
    with tempfile.TemporaryDirectory(prefix="preftune-bench-") as folder:
        trainer = _TimedTrainer(make_model(size), groups, Path(folder), bf16=bf16)
        bare = _BareLoop(make_model(size), groups, bf16=bf16)
        trainer.turn()
        bare.turn()
        trainer.clock.reset()
        times = in_turn({TRAINER: trainer.turn, BARE: bare.turn}, rounds=options.rounds, warm_up=0)
    notes = (
        f"{workload.title}, {'bfloat16 autocast' if bf16 else 'float32'}; {STEPS_PER_TURN} steps per round, one "
        "micro-batch each, reference log-probs known",
        "outside: planner, collation, hooks, logging and metrics, measured by clocks around the parts of the step",
    )
    rows = tuple(_rows(workload, times, trainer.clock))
    return Result("overhead", name, this_machine(), options.rounds, rows=rows, notes=notes)


def _rows(workload: Workload, times: Mapping[str, Times], clock: "_PartClock") -> Iterator[Row]:
    total = clock.total
    inside = sum(clock.seconds.values())
    yield {"what": "trainer, seconds per step", "value": times[TRAINER].median, "share of the step": None}
    yield {"what": "bare loop, seconds per step", "value": times[BARE].median, "share of the step": None}
    slower = 1 - 1 / times[BARE].times_faster_than(times[TRAINER])
    yield {"what": "trainer overhead over the bare loop", "value": None, "share of the step": f"{slower:.1%}"}
    for part in PARTS:
        seconds = clock.seconds[part]
        yield {
            "what": f"{part}, seconds per step",
            "value": seconds / clock.steps,
            "share of the step": f"{seconds / total:.1%}",
        }
    outside = total - inside
    share = f"{outside / total:.1%}"
    yield {"what": "outside these, seconds per step", "value": outside / clock.steps, "share of the step": share}
    speed = workload.packed_tokens / times[TRAINER].median
    yield {"what": "tokens per second", "value": speed, "share of the step": None}


@dataclass(slots=True)
class _PartClock:
    """Seconds of the parts of all steps so far."""

    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PARTS, 0.0))
    total: float = 0.0
    steps: int = 0

    def reset(self) -> None:
        """Forget what was."""
        self.seconds, self.total, self.steps = dict.fromkeys(PARTS, 0.0), 0.0, 0

    def around(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function on the clock."""

        def timed(*arguments: Any, **keywords: Any) -> Any:
            start = time.perf_counter()
            result = function(*arguments, **keywords)
            self.seconds[part] += time.perf_counter() - start
            return result

        return timed


class _RunClock(TrainerCallback):
    """The optimizer's part, and the whole run from its beginning to its end."""

    def __init__(self, clock: _PartClock) -> None:
        self._clock = clock
        self.seconds = 0.0

    @override
    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._began = time.perf_counter()

    @override
    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._update_began = time.perf_counter()

    @override
    def on_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._clock.seconds["optimizer"] += time.perf_counter() - self._update_began

    @override
    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.seconds = time.perf_counter() - self._began
        self._clock.total += self.seconds
        self._clock.steps += state.global_step


class _TimedObjective:
    """An objective with a clock at its call; all else is the objective's own."""

    def __init__(self, objective: Objective, clock: "_PartClock") -> None:
        self._objective = objective
        self._timed = clock.around("forward and loss", objective)

    def __call__(self, *arguments: Any, **settings: Any) -> Any:
        return self._timed(*arguments, **settings)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._objective, name)


class _TimedTrainer:
    """A `PreferenceTrainer` with clocks at its parts, logging every step."""

    def __init__(self, model: PreTrainedModel, groups: list[TokenGroup], folder: Path, *, bf16: bool) -> None:
        self.clock = _PartClock()
        self._run_clock = _RunClock(self.clock)
        self.losses: list[float] = []
        reference = Cached(_reference_table(model, groups, bf16=bf16))
        arguments = TrainingArguments(
            str(folder), per_device_train_batch_size=1, learning_rate=LEARNING_RATE, lr_scheduler_type="constant",
            max_steps=STEPS_PER_TURN, logging_steps=1, save_strategy="no", report_to="none", disable_tqdm=True,
            use_cpu=True, bf16=bf16,
        )  # fmt: skip
        method, forward = Method.named("dpo", {"beta": BETA}), PackedForward()
        batching = Batching.of(
            model, arguments, forward.layout, batch_size=len(groups), max_tokens=1 << 30, shuffle=False
        )
        self._trainer = PreferenceTrainer(
            model,
            arguments,
            objective=Objective(method, reference, forward),
            train_steps=StepDataset(groups, method, batching),
            callbacks=[self._run_clock],
        )
        trainer: Any = self._trainer
        trainer.pop_callback(_printing_callback())
        trainer.objective = _TimedObjective(trainer.objective, self.clock)
        trainer.accelerator.backward = self.clock.around("backward", trainer.accelerator.backward)
        trainer.accelerator.clip_grad_norm_ = self.clock.around("clipping", trainer.accelerator.clip_grad_norm_)

    def turn(self) -> float:
        """Seconds per step of one run."""
        self._trainer.train()
        self.losses = [log["loss"] for log in self._trainer.state.log_history if "loss" in log]
        return self._run_clock.seconds / STEPS_PER_TURN


class _BareLoop:
    """The same compute and nothing else: the batch is at hand, nothing is logged."""

    def __init__(self, model: PreTrainedModel, groups: list[TokenGroup], *, bf16: bool) -> None:
        self._model, self._bf16 = model.train(), bf16
        self._batch = pack(groups)
        table = _reference_table(model, groups, bf16=bf16)
        self._reference = torch.tensor([table[key] for key in self._batch.keys])
        self._optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.0, fused=True)
        self.losses: list[float] = []

    def turn(self) -> float:
        """Seconds per step."""
        start = time.perf_counter()
        losses = [self._step() for _ in range(STEPS_PER_TURN)]
        seconds = (time.perf_counter() - start) / STEPS_PER_TURN
        self.losses = [float(loss) for loss in losses]
        return seconds

    def _step(self) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=self._bf16):
            logps = completion_logps(PackedForward(), self._model, self._batch)
        rewards = BETA * (logps - self._reference)
        margins = rewards[self._batch.pairs[:, 0]] - rewards[self._batch.pairs[:, 1]]
        loss = -logsigmoid(margins).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._model.parameters(), 1.0)
        self._optimizer.step()
        self._model.zero_grad()
        return loss.detach()


def _reference_table(model: PreTrainedModel, groups: list[TokenGroup], *, bf16: bool) -> dict[bytes, float]:
    batch = pack(groups)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        return dict(zip(batch.keys, completion_logps(PackedForward(), model, batch).tolist(), strict=True))


def _printing_callback() -> type[TrainerCallback]:
    from transformers.trainer_callback import PrinterCallback

    return PrinterCallback
