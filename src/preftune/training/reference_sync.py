"""Moves the reference to the policy as training goes, and keeps it in checkpoints."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate.state import AcceleratorState
from accelerate.utils import extract_model_from_parallel
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from typing_extensions import override

from preftune.errors import ConfigError, ModelError, OutputError
from preftune.model.reference.reference import FrozenCopy, KeptAdapter, Reference
from preftune.settings import ModelSettings

_COPY_FILE, _ADAPTER_FILE = "reference.safetensors", "adapter_model.safetensors"


class ReferenceSync(TrainerCallback):
    """Moves the reference's weights towards the policy's every so many steps (TR-DPO).

    reference <- mix * policy + (1 - mix) * reference

    Each parameter is mixed in float32 at least and rounded once to the type that the reference is held in; buffers are
    copied. Of adapters it is the parameters that are mixed: below mix = 1 the reference's change of a weight matrix is
    then the product of the means of both factors, which is not the mean of the two products.

    Args:
        reference: A model of its own with the policy's shapes, or an adapter beside the trained one.
        mix: Share of the way that a move goes, in (0, 1]; at 1 the reference becomes the policy.
        every: Steps between two moves.
    Raises:
        ConfigError: when the trainer is made, if weights are sharded over processes.
        ModelError: when the trainer is made, if policy and reference have other weights than each other.
        OutputError: when training begins, if the checkpoint that it goes on from lacks the reference.
    Source: Gorbatovski et al. 2024, arXiv:2404.09656: soft update, and hard update at mix = 1.
    """

    def __init__(self, reference: FrozenCopy | KeptAdapter, *, mix: float, every: int) -> None:
        assert 0 < mix <= 1, mix
        assert every >= 1, every
        self._reference = reference
        self._mix = mix
        self._every = every

    @staticmethod
    def of(settings: ModelSettings, reference: Reference) -> "ReferenceSync | None":
        """The synchronisation that the settings ask for; None if the reference stays frozen."""
        if not settings.moves_reference:
            return None
        assert isinstance(reference, (FrozenCopy, KeptAdapter)), type(reference).__name__
        mix = 1.0 if settings.reference_sync == "hard" else settings.reference_sync_mix
        return ReferenceSync(reference, mix=mix, every=settings.reference_sync_every)

    @override
    def on_init_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if is_sharded(args):
            raise ConfigError(
                [
                    "reference_sync: cannot mix weights that are sharded over processes (FSDP). Leave it out, or train "
                    "without FSDP."
                ]
            )
        self._check_same_shapes(extract_model_from_parallel(kwargs["model"]))

    @override
    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.global_step > 0:
            assert args.output_dir is not None, "a run is resumed from its folder"
            self._load(Path(args.output_dir) / f"checkpoint-{state.global_step}")

    @override
    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if state.global_step % self._every == 0:
            self.move(kwargs["model"])

    def move(self, policy: nn.Module) -> None:
        """Mix the policy into the reference, once."""
        model = extract_model_from_parallel(policy)
        target, source = self._weights(model), self._trained_weights(model)
        with torch.no_grad():
            for name, weight in target.items():
                is_mixed = isinstance(weight, nn.Parameter)
                weight.copy_(_mixed(weight, source[name], self._mix) if is_mixed else source[name])

    def save(self, checkpoint: Path) -> None:
        """Write a reference model into a checkpoint. Adapters are there already: peft writes all that a model has."""
        if isinstance(self._reference, FrozenCopy):
            weights = _weights_of(self._reference.model)
            save_file({name: weight.detach().contiguous() for name, weight in weights.items()}, checkpoint / _COPY_FILE)

    def _load(self, checkpoint: Path) -> None:
        """Take the reference of the checkpoint. The trainer has loaded an adapter already."""
        if isinstance(self._reference, KeptAdapter):
            file = checkpoint / self._reference.kept / _ADAPTER_FILE
        else:
            file = checkpoint / _COPY_FILE
        if not file.is_file():
            raise OutputError(
                f"{file}: does not exist, so the run cannot continue with the updated reference. Delete "
                f"{checkpoint} to resume from an earlier checkpoint, or start over with --overwrite."
            )
        if isinstance(self._reference, FrozenCopy):
            saved = load_file(file)
            with torch.no_grad():
                for name, weight in _weights_of(self._reference.model).items():
                    weight.copy_(saved[name])

    def _weights(self, policy: nn.Module) -> Mapping[str, Tensor]:
        """The reference's weights, by name."""
        if isinstance(self._reference, FrozenCopy):
            return _weights_of(self._reference.model)
        kept = self._reference.kept
        return {name: weight for name, weight in _weights_of(policy).items() if kept in name.split(".")}

    def _trained_weights(self, policy: nn.Module) -> Mapping[str, Tensor]:
        """The policy's weights, under the names of the reference's."""
        weights = _weights_of(policy)
        if isinstance(self._reference, FrozenCopy):
            return weights
        trained, kept = self._reference.trained, self._reference.kept
        parts = {name: name.split(".") for name in weights}
        return {
            ".".join(kept if part == trained else part for part in parts[name]): weight
            for name, weight in weights.items()
            if trained in parts[name]
        }

    def _check_same_shapes(self, policy: nn.Module) -> None:
        target = {name: weight.shape for name, weight in self._weights(policy).items()}
        source = {name: weight.shape for name, weight in self._trained_weights(policy).items()}
        differing = sorted(name for name in target.keys() | source.keys() if target.get(name) != source.get(name))
        if differing:
            raise ModelError(
                f"reference_sync: policy and reference have other weights than each other, {differing[0]} for one, so "
                "they cannot be mixed. Give a reference_model of the same kind and size, or leave reference_sync out."
            )


def _weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Parameters, each once under one of its names, and those buffers that are saved with them."""
    saved = model.state_dict().keys()
    buffers = {name: buffer for name, buffer in model.named_buffers() if name in saved}
    return {**dict(model.named_parameters()), **buffers}


def _mixed(target: Tensor, source: Tensor, mix: float) -> Tensor:
    """The point `mix` of the way from target to source.

    >>> _mixed(torch.tensor([1.0, 0.0]), torch.tensor([2.0, -1.0]), 0.25)
    tensor([ 1.2500, -0.2500])
    """
    kind = torch.promote_types(torch.promote_types(target.dtype, source.dtype), torch.float32)
    return torch.lerp(target.to(kind), source.to(kind), mix)


def is_sharded(arguments: TrainingArguments) -> bool:
    """True if each process holds a part of every weight (FSDP), by the arguments or by accelerate's own settings.

    Call it after the trainer is made, which reads the latter.
    """
    return bool(arguments.fsdp) or getattr(AcceleratorState(), "fsdp_plugin", None) is not None
