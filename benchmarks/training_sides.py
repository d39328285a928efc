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
from peft import LoraConfig, get_peft_model
from torch.nn.functional import logsigmoid
from transformers import PreTrainedModel, TrainerCallback, TrainingArguments
from typing_extensions import override

from benchmarks.machine import seconds_now
from benchmarks.padded_forward import PaddedFused
from benchmarks.workloads import ModelSize, Workload, make_model, make_tokenizer
from preftune import DPOConfig, DPOTrainer
from preftune.data.tokens.token_group import TokenGroup, TokenIds
from preftune.groups import Origin, Pair
from preftune.losses import Method
from preftune.model.forward.forward import completion_logps
from preftune.model.forward.head.tiles import Tiles
from preftune.model.forward.packed import PackedForward
from preftune.model.forward.packed_batch import PackedBatch, pack
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
        bf16: True for matrix products in bfloat16 autocast.
        num_steps: Steps of a turn, each on the same pairs.
        learning_rate: Constant except for the schedule's decay within a turn.
        device: Device type.
        weights: Type of the weights.
        lora: True to train an adapter of rank 16 on all linear layers instead of all weights.
        pairs_per_forward: Pairs that the padded sides take at a time; None for all.
        max_tokens: Token budget of a packed micro-batch; None for that of the padded sides.
    """

    workload: Workload
    size: ModelSize
    bf16: bool
    num_steps: int = 1
    learning_rate: float = 1e-6
    device: Literal["cpu", "cuda"] = "cpu"
    weights: torch.dtype = torch.float32
    lora: bool = False
    pairs_per_forward: int | None = None
    max_tokens: int | None = None

    def model(self) -> PreTrainedModel:
        """The model to train."""
        return make_model(self.size, device=self.device, dtype=self.weights)

    @property
    def adapter(self) -> LoraConfig | None:
        """Config of the adapter to train."""
        return LoraConfig(r=16, lora_alpha=32, target_modules="all-linear") if self.lora else None

    def autocast(self) -> torch.autocast:
        """Context of a forward outside the trainers."""
        return torch.autocast(self.device, torch.bfloat16, enabled=self.bf16)


class Side(Protocol):
    """Something that trains. `turn` is one run: its seconds per step; `logs` are those of the steps of all turns."""

    setup_seconds: float
    logs: list[dict[str, float]]

    def turn(self) -> float: ...


def make_side(name: SideName, case: Case, model: PreTrainedModel | None = None) -> Side:
    """A side with its data read and its reference computed, if it computes it beforehand."""
    model = model or case.model()
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
    model = case.model()
    if name.startswith("TRL"):
        _import_trl()

    def work() -> None:
        side = make_side(name, case, model)
        for _ in range(math.ceil(2 / case.num_steps)):
            side.turn()

    return work


class _TrainerSide:
    """A `transformers.Trainer`, run again in each turn on its data set."""

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
        self._began = seconds_now()

    @override
    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.seconds = seconds_now() - self._began


def _settings(case: Case, folder: Path) -> dict[str, Any]:
    per_forward = case.pairs_per_forward or case.workload.num_pairs
    return {
        "output_dir": str(folder),
        "beta": BETA,
        "learning_rate": case.learning_rate,
        "per_device_train_batch_size": per_forward,
        "gradient_accumulation_steps": case.workload.num_pairs // per_forward,
        "max_steps": case.num_steps,
        "train_sampling_strategy": "sequential",
        "max_length": None,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": case.device == "cpu",
        "bf16": case.bf16,
    }


def _ours(case: Case, model: PreTrainedModel, folder: Path, best: Mapping[str, Any]) -> DPOTrainer:
    settings = _settings(case, folder) | ({"max_tokens_per_microbatch": case.max_tokens} if case.max_tokens else {})
    config = DPOConfig(**{**settings, **best})
    rows = Dataset.from_list(case.workload.rows(case.size.vocabulary_size))
    tokenizer = make_tokenizer(case.size.vocabulary_size)
    return DPOTrainer(
        model=model, args=config, train_dataset=rows, processing_class=tokenizer, peft_config=case.adapter
    )


def _trl(case: Case, model: PreTrainedModel, folder: Path, best: Mapping[str, Any]) -> Any:
    trl = _import_trl()
    reference = None if best else case.model()
    return trl.DPOTrainer(
        model=model,
        ref_model=reference,
        args=trl.DPOConfig(**_settings(case, folder), **best),
        train_dataset=Dataset.from_list(case.workload.rows(case.size.vocabulary_size)),
        processing_class=make_tokenizer(case.size.vocabulary_size),
        peft_config=case.adapter,
    )


def _lists(case: Case, model: PreTrainedModel, folder: Path) -> PreferenceTrainer:
    """All pairs of a prompt in one group, so that its best answer is computed once as well."""
    groups = _groups(case, case.workload.texts(case.size.vocabulary_size))
    pairs = [tuple(Pair(0, other) for other in range(1, len(group.completions))) for group in groups]
    groups = [replace(group, pairs=of_group) for group, of_group in zip(groups, pairs, strict=True)]
    forward = PackedForward(Tiles(keep_bytes=256 * 2**20))  # As in a run.
    with torch.no_grad(), case.autocast():
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

    def __init__(self, case: Case, model: PreTrainedModel) -> None:
        start = time.perf_counter()
        self._case = case
        self._model = get_peft_model(model, case.adapter) if case.adapter else model
        groups = _groups(case, [list(row.values()) for row in case.workload.rows(case.size.vocabulary_size)])
        share = case.pairs_per_forward or len(groups)
        self._batches = [pack(groups[first : first + share]).to(case.device) for first in range(0, len(groups), share)]
        weights = [weight for weight in self._model.parameters() if weight.requires_grad]
        self._optimizer = torch.optim.AdamW(weights, lr=case.learning_rate, weight_decay=0.0, fused=True)
        with torch.no_grad():
            self._references = [self._logps(batch) for batch in self._batches]
        self.setup_seconds = time.perf_counter() - start
        self.logs: list[dict[str, float]] = []

    def turn(self) -> float:
        start = seconds_now()
        self._model.train()
        self.logs += [self._step(1 - step / self._case.num_steps) for step in range(self._case.num_steps)]
        return (seconds_now() - start) / self._case.num_steps

    def _step(self, decay: float) -> dict[str, float]:
        self._optimizer.zero_grad(set_to_none=True)
        losses, chosen = [], []
        for batch, reference in zip(self._batches, self._references, strict=True):
            logps = self._logps(batch)
            rewards = BETA * (logps - reference).view(-1, 2)
            loss = -logsigmoid(rewards[:, 0] - rewards[:, 1]).sum() / self._case.workload.num_pairs
            loss.backward()
            losses.append(loss.detach())
            chosen.append(logps.detach()[::2])
        torch.nn.utils.clip_grad_norm_(self._model.parameters(), 1.0)
        self._optimizer.param_groups[0]["lr"] = self._case.learning_rate * decay  # As the trainers' schedule.
        self._optimizer.step()
        return {"loss": float(torch.stack(losses).sum()), "logps/chosen": float(torch.cat(chosen).mean())}

    def _logps(self, batch: PackedBatch) -> torch.Tensor:
        with self._case.autocast():
            return completion_logps(PaddedFused(), self._model, batch)


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
