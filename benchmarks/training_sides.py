"""The sides of the comparison of whole runs: each trains the same model on the same pairs with the same optimizer."""

import contextlib
import importlib
import io
import math
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from datasets import Dataset
from torch.nn.functional import logsigmoid
from transformers import LlamaForCausalLM, TrainerCallback, TrainingArguments
from typing_extensions import override

from benchmarks.padded_forward import PaddedFused
from benchmarks.workloads import ModelSize, Workload, make_model, make_tokenizer
from preftune import DPOConfig, DPOTrainer
from preftune.data.tokens.token_group import TokenGroup, TokenIds
from preftune.groups import Origin, Pair
from preftune.losses import Method
from preftune.model.forward.forward import completion_logps
from preftune.model.forward.head.tiles import Tiles
from preftune.model.forward.packed import PackedForward
from preftune.model.forward.packed_batch import pack
from preftune.model.reference.cached import Cached
from preftune.training.objective import Objective
from preftune.training.steps import Batching, StepDataset
from preftune.training.trainer import PreferenceTrainer

__all__ = ["SIDES", "Case", "Side", "SideName", "make_side", "work_of"]

SideName = Literal[
    "preftune",
    "preftune, lists",
    "preftune, a pair at a time",
    "preftune, default settings",
    "padded, fused",
    "TRL at its best",
    "TRL, default settings",
]
SIDES: tuple[SideName, ...] = (
    "preftune",
    "preftune, lists",
    "preftune, a pair at a time",
    "preftune, default settings",
    "padded, fused",
    "TRL at its best",
    "TRL, default settings",
)
BETA = 0.1
_BEST: Mapping[str, Any] = {"gradient_checkpointing": False, "precompute_ref_log_probs": True}


@dataclass(frozen=True, slots=True)
class Case:
    """Training set-up.

    Args:
        workload: The pairs; all of them make one step.
        size: The model.
        bf16: Whether matrix products run in bfloat16 autocast; weights are float32 always.
        num_steps: Steps of a turn, each on the same pairs.
        learning_rate: Constant but for the schedule's decay within a turn.
    """

    workload: Workload
    size: ModelSize
    bf16: bool
    num_steps: int = 1
    learning_rate: float = 1e-6


class Side(Protocol):
    """Something that trains. `turn` is one run: its seconds per step; `logs` are those of the steps of all turns."""

    setup_seconds: float
    logs: list[dict[str, float]]

    def turn(self) -> float: ...


def make_side(name: SideName, case: Case, model: LlamaForCausalLM | None = None) -> Side:
    """A side with its data read and its reference computed, if it computes it beforehand."""
    model = model or make_model(case.size)
    if name == "padded, fused":
        return _PlainLoop(case, model)
    if name == "preftune, lists":
        return _TrainerSide(lambda folder: _lists(case, model, folder))
    settings = dict(_BEST) if "default" not in name else {}
    if name == "preftune, a pair at a time":
        settings["max_tokens_per_microbatch"] = case.workload.biggest_pair
    make = _ours if name.startswith("preftune") else _trl
    return _TrainerSide(lambda folder: make(case, model, folder, settings))


def work_of(given: tuple[SideName, Case]) -> Callable[[], object]:
    """For the measurement of memory: the model is loaded, and all else is the work. Two steps at least."""
    name, case = given
    model = make_model(case.size)
    if name.startswith("TRL"):
        _import_trl()

    def work() -> None:
        side = make_side(name, case, model)
        for _ in range(math.ceil(2 / case.num_steps)):
            side.turn()

    return work


class _TrainerSide:
    """A `transformers.Trainer`, run anew each turn on what it holds."""

    def __init__(self, make: Callable[[Path], Any]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="preftune-bench-")
        start = time.perf_counter()
        with _silence():
            self._trainer = make(Path(self._folder.name))
        self.setup_seconds = time.perf_counter() - start
        self._clock = _RunClock()
        self._trainer.add_callback(self._clock)
        self.logs: list[dict[str, float]] = []

    def turn(self) -> float:
        """From the first batch's collation to the end of the last step's logging."""
        with _silence():
            self._trainer.train()
        self.logs += [log for log in self._trainer.state.log_history if "loss" in log]
        return self._clock.seconds / int(self._trainer.state.global_step)


class _RunClock(TrainerCallback):
    seconds = 0.0

    @override
    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._began = time.perf_counter()

    @override
    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.seconds = time.perf_counter() - self._began


def _settings(case: Case, folder: Path) -> dict[str, Any]:
    return {
        "output_dir": str(folder),
        "beta": BETA,
        "learning_rate": case.learning_rate,
        "per_device_train_batch_size": case.workload.num_pairs,
        "max_steps": case.num_steps,
        "train_sampling_strategy": "sequential",
        "max_length": None,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
        "bf16": case.bf16,
    }


def _ours(case: Case, model: LlamaForCausalLM, folder: Path, best: Mapping[str, Any]) -> DPOTrainer:
    config = DPOConfig(**_settings(case, folder), **best)
    rows = Dataset.from_list(case.workload.rows(case.size.vocabulary_size))
    tokenizer = make_tokenizer(case.size.vocabulary_size)
    return DPOTrainer(model=model, args=config, train_dataset=rows, processing_class=tokenizer)


def _trl(case: Case, model: LlamaForCausalLM, folder: Path, best: Mapping[str, Any]) -> Any:
    trl = _import_trl()
    reference = None if best else make_model(case.size)
    return trl.DPOTrainer(
        model=model,
        ref_model=reference,
        args=trl.DPOConfig(**_settings(case, folder), **best),
        train_dataset=Dataset.from_list(case.workload.rows(case.size.vocabulary_size)),
        processing_class=make_tokenizer(case.size.vocabulary_size),
    )


def _lists(case: Case, model: LlamaForCausalLM, folder: Path) -> PreferenceTrainer:
    """All pairs of a prompt in one group, so that its best answer is computed once as well."""
    groups = _groups(case, case.workload.texts(case.size.vocabulary_size))
    pairs = [tuple(Pair(0, other) for other in range(1, len(group.completions))) for group in groups]
    groups = [replace(group, pairs=of_group) for group, of_group in zip(groups, pairs, strict=True)]
    forward = PackedForward(Tiles(keep_bytes=256 * 2**20))  # As in a run.
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=case.bf16):
        logps = completion_logps(forward, model, batch := pack(groups))
    settings = _settings(case, folder) | {"per_device_train_batch_size": 1}
    of_pairs = ("beta", "train_sampling_strategy", "max_length")
    arguments = TrainingArguments(**{name: value for name, value in settings.items() if name not in of_pairs})
    method = Method.named("dpo", {"beta": BETA})
    batching = Batching.of(
        model,
        arguments,
        forward.layout,
        batch_size=case.workload.num_pairs,
        max_tokens=1 << 30,
        shuffle=False,
    )
    return PreferenceTrainer(
        model,
        arguments,
        objective=Objective(method, Cached(dict(zip(batch.keys, logps.tolist(), strict=True))), forward),
        train_steps=StepDataset(groups, method, batching),
    )


def _groups(case: Case, texts: Sequence[Sequence[str]]) -> list[TokenGroup]:
    """The tokens of prompt and answers, without pairs but the first."""
    tokenizer = make_tokenizer(case.size.vocabulary_size)

    def tokens(text: str) -> TokenIds:
        return np.array(tokenizer(text)["input_ids"], dtype=np.int32)

    return [
        TokenGroup(
            tokens(prompt), tuple(tokens(answer + "<eos>") for answer in answers), (Pair(0, 1),), Origin("random", row)
        )
        for row, (prompt, *answers) in enumerate(texts, start=1)
    ]


class _PlainLoop:
    """A loop in plain PyTorch, without any trainer: padded rows, fused log-probs, reference computed beforehand."""

    def __init__(self, case: Case, model: LlamaForCausalLM) -> None:
        start = time.perf_counter()
        self._case, self._model = case, model
        rows = case.workload.rows(case.size.vocabulary_size)
        self._groups = _groups(case, [list(row.values()) for row in rows])
        self._optimizer = torch.optim.AdamW(model.parameters(), lr=case.learning_rate, weight_decay=0.0, fused=True)
        with torch.no_grad():
            self._reference = self._logps()
        self.setup_seconds = time.perf_counter() - start
        self.logs: list[dict[str, float]] = []

    def turn(self) -> float:
        start = time.perf_counter()
        self._model.train()
        self.logs += [self._step(1 - step / self._case.num_steps) for step in range(self._case.num_steps)]
        return (time.perf_counter() - start) / self._case.num_steps

    def _step(self, decay: float) -> dict[str, float]:
        logps = self._logps()
        rewards = BETA * (logps - self._reference).view(-1, 2)
        loss = -logsigmoid(rewards[:, 0] - rewards[:, 1]).mean()
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._model.parameters(), 1.0)
        self._optimizer.param_groups[0]["lr"] = self._case.learning_rate * decay  # As the trainers' schedule.
        self._optimizer.step()
        return {"loss": float(loss.detach()), "logps/chosen": float(logps.detach()[::2].mean())}

    def _logps(self) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=self._case.bf16):
            return completion_logps(PaddedFused(), self._model, pack(self._groups))


def _import_trl() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trl: Any = importlib.import_module("trl")
        trl.DPOTrainer, trl.DPOConfig  # noqa: B018  # Loads the trainer, which the package does late.
    return trl


@contextlib.contextmanager
def _silence() -> Any:
    """Trainers print each log."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
