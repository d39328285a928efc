"""Sources of reference log-probs that run a model at each call."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Protocol, final

import torch
from accelerate.utils import extract_model_from_parallel
from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel

from preftune.model.forward.forward import Forward, evaluating
from preftune.model.forward.head.token_values import Distributions
from preftune.model.forward.packed_batch import PackedBatch


class Reference(Protocol):
    """Values of a batch under a frozen model, without gradient; None where there is no reference.

    Every method takes

        forward: Computes the log-probs, and those of the policy.
        policy: The model in training, as the trainer wraps it.
        batch: The micro-batch.
    """

    def logps(self, forward: Forward, policy: nn.Module, batch: PackedBatch) -> Tensor | None:
        """Log-prob of every completion. Shape: (completion,). Unit: nats."""

    def token_logps(self, forward: Forward, policy: nn.Module, batch: PackedBatch) -> Tensor | None:
        """Log-prob of every target. Shape: (target,). Unit: nats."""

    def distributions(self, forward: Forward, policy: nn.Module, batch: PackedBatch) -> Distributions | None:
        """The next-token distributions at all predictors.

        They may share weights with the policy: use them before these change.
        """


@final
@dataclass(frozen=True, slots=True)
class NoReference:
    """For losses that look at the policy alone."""

    def logps(self, forward: Forward, policy: nn.Module, batch: PackedBatch) -> None:
        """See `Reference.logps`."""

    def token_logps(self, forward: Forward, policy: nn.Module, batch: PackedBatch) -> None:
        """See `Reference.token_logps`."""

    def distributions(self, forward: Forward, policy: nn.Module, batch: PackedBatch) -> None:
        """See `Reference.distributions`."""


class _ModelReference(ABC):
    """A reference that is run."""

    __slots__ = ()

    def logps(self, forward: Forward, policy: nn.Module, batch: PackedBatch) -> Tensor:
        """See `Reference.logps`."""
        return batch.sum_by_completion(self.token_logps(forward, policy, batch))

    def token_logps(self, forward: Forward, policy: nn.Module, batch: PackedBatch) -> Tensor:
        """See `Reference.token_logps`."""
        with torch.no_grad(), self._frozen(policy) as model:
            return forward.token_logps(model, batch)

    def distributions(self, forward: Forward, policy: nn.Module, batch: PackedBatch) -> Distributions:
        """See `Reference.distributions`."""
        with torch.no_grad(), self._frozen(policy) as model:
            return forward.distributions(model, batch)

    @abstractmethod
    def _frozen(self, policy: nn.Module) -> AbstractContextManager[nn.Module]:
        """While this is on, the model that it gives is the reference."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class FrozenCopy(_ModelReference):
    """A model of its own: a copy of the policy as it was, or another model with the same tokenizer.

    Args:
        model: In evaluation mode, with gradients off, on the policy's device.
    """

    model: PreTrainedModel | PeftModel

    def _frozen(self, policy: nn.Module) -> AbstractContextManager[nn.Module]:  # noqa: ARG002
        return nullcontext(self.model)


@final
@dataclass(frozen=True, slots=True)
class AdapterOff(_ModelReference):
    """The policy with its adapter switched off: the base model, at no further memory."""

    @contextmanager
    def _frozen(self, policy: nn.Module) -> Iterator[nn.Module]:
        with evaluating(policy), _peft_model(policy).disable_adapter():
            yield policy


@final
@dataclass(frozen=True, slots=True)
class KeptAdapter(_ModelReference):
    """The policy with another adapter switched on: the one it started from, kept as it was.

    Args:
        trained: Name of the adapter in training.
        kept: Name of the frozen adapter.
    """

    trained: str
    kept: str

    @contextmanager
    def _frozen(self, policy: nn.Module) -> Iterator[nn.Module]:
        model = _peft_model(policy)
        with evaluating(policy):
            model.set_adapter(self.kept, inference_mode=True)
            try:
                yield policy
            finally:
                model.set_adapter(self.trained)


def _peft_model(policy: nn.Module) -> PeftModel:
    model = extract_model_from_parallel(policy)
    assert isinstance(model, PeftModel), f"expected a model with adapters, got {type(model).__name__}"
    return model


@final
@dataclass(frozen=True, slots=True, eq=False)
class ComputedBy:
    """A reference with its own forward, independent of that of the policy.

    Args:
        forward: Replaces the forward passed to the methods.
        reference: The reference to compute.
    """

    forward: Forward
    reference: Reference

    def logps(self, forward: Forward, policy: nn.Module, batch: PackedBatch) -> Tensor | None:  # noqa: ARG002
        """See `Reference.logps`."""
        return self.reference.logps(self.forward, policy, batch)

    def token_logps(self, forward: Forward, policy: nn.Module, batch: PackedBatch) -> Tensor | None:  # noqa: ARG002
        """See `Reference.token_logps`."""
        return self.reference.token_logps(self.forward, policy, batch)

    def distributions(self, forward: Forward, policy: nn.Module, batch: PackedBatch) -> Distributions | None:  # noqa: ARG002
        """See `Reference.distributions`."""
        return self.reference.distributions(self.forward, policy, batch)
