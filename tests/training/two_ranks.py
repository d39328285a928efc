"""Trains a tiny model in float64 for some steps and saves weights and losses: alone, or as two ranks.

With two ranks it also writes the sample metrics that each receives from the main process.
"""

import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import DistributedType
from torch import nn
from torch.distributed.tensor import DTensor
from transformers import TrainerControl, TrainerState, TrainingArguments
from typing_extensions import override

from preftune.errors import TrainingError
from preftune.losses import Method
from preftune.metrics.intervals import Estimate
from preftune.model.forward.packed import PackedForward
from preftune.model.reference.reference import FrozenCopy
from preftune.runs.sampler import RunSamples, Sampler
from preftune.runs.samples import DrawnSamples, SampleMeasure, SamplePrompt, SamplesFile
from preftune.training.objective import Objective
from preftune.training.trainer import PreferenceTrainer
from tests.builders import tiny_llama, token_groups
from tests.training.trainers import make_trainer
from tests.two_ranks import run_as_rank

WRAPPERS: dict[str, dict[str, Any]] = {
    "ddp": {},
    "fsdp": {"fsdp": True, "fsdp_config": {}},
    "fsdp, checkpointing": {"fsdp": True, "fsdp_config": {"activation_checkpointing": True}},
}
"""Ways to share the work between ranks, as arguments of the trainer."""


def train_in_every_way(rank: int, folder: Path) -> None:
    """Write a folder per way."""
    sample(rank, folder)
    for name, settings in WRAPPERS.items():
        train(folder / name, **settings)


def _same(drawn: DrawnSamples, start: Sequence[str]) -> Mapping[str, float]:
    return {"same": float(list(drawn.completions) == start)}


MEASURES: Mapping[str, Sequence[SampleMeasure]] = {"plain": (), "measured": (_same,)}


class _SamplerOfMain(Sampler):
    """Knows what it draws by heart, and is asked on the main process alone."""

    def __init__(self) -> None: ...

    @override
    def draw(self, model: Any, step: int) -> DrawnSamples:
        assert PartialState().is_main_process
        if step:
            raise NotImplementedError("no cache for this model")
        prompts = (SamplePrompt("2+2=", "4"),)
        return DrawnSamples(step, 8, prompts, ("4",), (True,), None, 1.5, Estimate(2.0, 0.5, 1))


def sample(rank: int, folder: Path) -> None:
    """Write the sample metrics that this rank receives before the first step, and the error after it."""
    arguments = TrainingArguments(str(folder), report_to=[], use_cpu=True, eval_on_start=True, eval_strategy="epoch")
    Accelerator(cpu=True)
    found = [_sampled(arguments, rank, folder / name, measures) for name, measures in MEASURES.items()]
    (folder / f"samples-{rank}.json").write_text(json.dumps(found))


def _sampled(arguments: TrainingArguments, rank: int, file: Path, measures: Sequence[SampleMeasure]) -> list[Any]:
    samples = RunSamples(_SamplerOfMain(), SamplesFile(file), measures=measures, say=print)
    model, control = nn.Linear(1, 1), TrainerControl()
    samples.on_train_begin(arguments, TrainerState(is_world_process_zero=rank == 0), control)
    before = samples(model)
    try:
        samples.on_step_end(arguments, TrainerState(global_step=1, max_steps=1), control, model=model)
    except (NotImplementedError, TrainingError) as error:
        return [before, str(error)]
    return [before, samples(model)]


def train(folder: Path, **settings: Any) -> None:
    """Five groups in steps of three: two ranks get uneven shares, and in the last step one group each."""
    torch.manual_seed(0)
    model = tiny_llama().double()
    arguments = TrainingArguments(
        str(folder),
        per_device_train_batch_size=1,
        learning_rate=1e-2,
        num_train_epochs=2,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        ddp_find_unused_parameters=False,
        **settings,
    )
    if arguments.fsdp:
        _let_accelerate_shard()
    trainer = make_trainer(
        model,
        arguments,
        objective=Objective(Method.named("dpo"), FrozenCopy(copy.deepcopy(model).eval()), PackedForward()),
        train_groups=token_groups(5, longest=30),
        eval_groups=token_groups(3, seed=1),
        batch_size=3,
        max_tokens_per_microbatch=130,
        starts_at_reference=True,
    )
    trainer.train()
    assert trainer.is_fsdp_enabled == bool(arguments.fsdp)
    _save(folder, trainer)


def _let_accelerate_shard() -> None:
    """Accelerate leaves FSDP out, without a word, where the ranks are called those of CPUs."""
    PartialState().distributed_type = DistributedType.MULTI_GPU


def _save(folder: Path, trainer: PreferenceTrainer) -> None:
    assert trainer.model is not None
    weights = _whole_weights(trainer.model)
    metrics = trainer.evaluate()
    if trainer.is_world_process_zero():
        folder.mkdir(exist_ok=True)
        torch.save(weights, folder / "weights.pt")
        logs = [log for log in trainer.state.log_history if "loss" in log]
        names = ("loss", "grad_norm", "rewards/margins", "logps/chosen", "num_tokens")
        kept = [{name: log[name] for name in names} for log in logs]
        (folder / "logs.json").write_text(json.dumps([*kept, {"eval_loss": metrics["eval_loss"]}]))


def _whole_weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {
        name.replace("_checkpoint_wrapped_module.", ""): value.full_tensor() if isinstance(value, DTensor) else value
        for name, value in model.state_dict().items()
    }


if __name__ == "__main__":
    run_as_rank(train_in_every_way)
