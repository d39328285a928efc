"""Gradients of one step that two ranks share, for every way to wrap the model.

Rank 0 has two micro-batches of unlike size, rank 1 one and an empty one, as a plan of three has it. Gradients meet in
the last micro-batch only, as in the trainer.
"""

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel
from transformers import PreTrainedModel

from preftune.model.forward.forward import completion_logps
from preftune.model.forward.packed import PackedForward
from preftune.model.forward.packed_batch import PackedBatch, pack
from tests.model.forward.tiny_models import GROUPS, enable_checkpointing, largest_gradient_error, tiny_model
from tests.two_ranks import run_as_rank

NUM_RANKS = 2
NUM_UNITS = sum(len(group.completions) for group in GROUPS)


@dataclass(frozen=True, slots=True)
class Case:
    """A model and a way to wrap it.

    Args:
        wrapper: DDP, or FSDP2 by units: the whole model as one, with each layer as one of its own, or with embedding
            and norm + head as further ones, as accelerate does it.
        checkpointing: Whether layers are run again in backward.
        model: Name of the tiny model.
    """

    wrapper: Literal["ddp", "fsdp whole", "fsdp layers", "fsdp units"]
    checkpointing: bool = False
    model: str = "llama"

    @property
    def name(self) -> str:
        """Name in reports."""
        return f"{self.model}, {self.wrapper}{', checkpointing' if self.checkpointing else ''}"


CASES = (
    *(
        Case(wrapper, checkpointing)
        for wrapper in ("ddp", "fsdp whole", "fsdp layers", "fsdp units")
        for checkpointing in (False, True)
    ),
    *(Case(wrapper, model="llama_tied_biased") for wrapper in ("ddp", "fsdp layers", "fsdp units")),
)


def write_errors(rank: int, folder: Path) -> None:
    """Write the largest relative error of a gradient for every case."""
    errors = {case.name: _error(case, rank) for case in CASES}
    (folder / f"rank{rank}.json").write_text(json.dumps(errors))


def _error(case: Case, rank: int) -> float:
    expected = _gradients(_model(case), [pack(GROUPS)])
    found = _gradients(_wrapped(_model(case), case), _micro_batches(rank))
    return largest_gradient_error(found, expected)


def _model(case: Case) -> PreTrainedModel:
    model = tiny_model(case.model)
    if case.checkpointing:
        model.train()
        enable_checkpointing(model, use_reentrant=False)
    return model


def _micro_batches(rank: int) -> list[PackedBatch]:
    if rank == 0:
        return [pack(GROUPS[:1]), pack(GROUPS[1:3])]
    return [pack(GROUPS[3:]), pack(GROUPS[:1], weight=0.0)]


def _wrapped(model: PreTrainedModel, case: Case) -> nn.Module:
    if case.wrapper == "ddp":
        return DistributedDataParallel(model)
    if case.wrapper != "fsdp whole":
        for layer in model.get_submodule("model.layers").children():
            fully_shard(layer)
    if case.wrapper == "fsdp units":
        embedding, norm, head = (model.get_submodule(name) for name in ("model.embed_tokens", "model.norm", "lm_head"))
        if embedding.weight is head.weight:
            fully_shard([norm, embedding, head], reshard_after_forward=False)
        else:
            fully_shard(embedding)
            fully_shard([norm, head], reshard_after_forward=False)
    fully_shard(model)
    return model


def _gradients(model: nn.Module, micro_batches: list[PackedBatch]) -> dict[str, Tensor]:
    """Gradients of the mean over the step's completions of their squared log-prob."""
    num_ranks = NUM_RANKS if isinstance(model, (DistributedDataParallel, FSDPModule)) else 1
    last = len(micro_batches) - 1
    for index, batch in enumerate(micro_batches):
        with nullcontext() if index == last else _no_sync(model):
            losses = completion_logps(PackedForward(), model, batch).square()
            (losses.sum() * batch.weight * (num_ranks / NUM_UNITS)).backward()
    return {name.removeprefix("module."): _whole(parameter) for name, parameter in model.named_parameters()}


def _no_sync(model: nn.Module) -> AbstractContextManager[None]:
    return model.no_sync() if isinstance(model, DistributedDataParallel) else _fsdp_no_sync(model)


@contextmanager
def _fsdp_no_sync(model: nn.Module) -> Iterator[None]:
    assert isinstance(model, FSDPModule)
    model.set_requires_gradient_sync(False)
    yield
    model.set_requires_gradient_sync(True)


def _whole(parameter: nn.Parameter) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad.full_tensor() if isinstance(parameter.grad, DTensor) else parameter.grad


if __name__ == "__main__":
    run_as_rank(write_errors)
