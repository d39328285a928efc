"""Where reference log-probs come from: the model itself, run at each call."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, final

import torch
from accelerate.utils import extract_model_from_parallel
from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel

from preftune.policy.forward import Forward, completion_logps
from preftune.policy.packed_batch import PackedBatch

__all__ = ["AdapterOff", "FrozenCopy", "KeptAdapter", "NoReference", "Reference"]


class Reference(Protocol):
    """Gives the log-probs of a batch's completions under the model held fixed."""

    def logps(self, forward: Forward, policy: nn.Module, batch: PackedBatch) -> Tensor | None:
        """Log-prob of every completion, without gradient. Shape: (completion,). Unit: nats.

        Args:
            forward: How log-probs are computed; the policy's are computed the same way.
            policy: The model in training, as the trainer wraps it.
            batch: Where the completions are.
        Returns:
            The log-probs, or None where there is no reference.
        """


@final
@dataclass(frozen=True, slots=True)
class NoReference:
    """For losses that look at the policy alone."""

    def logps(self, forward: Forward, policy: nn.Module, batch: PackedBatch) -> None:
        """See `Reference.logps`."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class FrozenCopy:
    """A model of its own: a copy of the policy as it was, or another model with the same tokenizer.

    Args:
        model: In evaluation mode, with gradients off, on the policy's device.
    """

    model: PreTrainedModel | PeftModel

    def logps(self, forward: Forward, policy: nn.Module, batch: PackedBatch) -> Tensor:  # noqa: ARG002
        """See `Reference.logps`."""
        with torch.no_grad():
            return completion_logps(forward, self.model, batch)


@final
@dataclass(frozen=True, slots=True)
class AdapterOff:
    """The policy with its adapter switched off: the base model, at no further memory."""

    def logps(self, forward: Forward, policy: nn.Module, batch: PackedBatch) -> Tensor:
        """See `Reference.logps`."""
        with torch.no_grad(), _evaluating(policy), _peft_model(policy).disable_adapter():
            return completion_logps(forward, policy, batch)


@final
@dataclass(frozen=True, slots=True)
class KeptAdapter:
    """The policy with another adapter switched on: the one it started from, kept as it was.

    Args:
        trained: Name of the adapter in training.
        kept: Name of the adapter held fixed.
    """

    trained: str
    kept: str

    def logps(self, forward: Forward, policy: nn.Module, batch: PackedBatch) -> Tensor:
        """See `Reference.logps`."""
        with torch.no_grad(), _evaluating(policy), self._switched(_peft_model(policy)):
            return completion_logps(forward, policy, batch)

    @contextmanager
    def _switched(self, model: PeftModel) -> Iterator[None]:
        model.set_adapter(self.kept, inference_mode=True)
        try:
            yield
        finally:
            model.set_adapter(self.trained)


def _peft_model(policy: nn.Module) -> PeftModel:
    model = extract_model_from_parallel(policy)
    assert isinstance(model, PeftModel), f"expected a model with adapters, got {type(model).__name__}"
    return model


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Dropout off for the time being."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)
