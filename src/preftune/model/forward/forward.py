"""Interface of everything that computes log-probs of a batch."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from torch import Tensor, nn

from preftune.model.forward.head.token_values import Distributions, TokenExtra, TokenValues
from preftune.model.forward.packed_batch import PackedBatch
from preftune.planning.sizes import Layout


class Forward(Protocol):
    """A way to compute the log-probs of a batch's completions under a model.

    `model` itself is called, wrapped or not, so that the hooks of DDP and FSDP fire.
    """

    @property
    def layout(self) -> Layout:
        """Layout of a batch: the planner counts its tokens against the budget."""

    def token_logps(self, model: nn.Module, batch: PackedBatch) -> Tensor:
        """Log-prob of every target, in float32 or better. Shape: (target,). Unit: nats."""

    def token_values(
        self,
        model: nn.Module,
        batch: PackedBatch,
        *,
        extras: frozenset[TokenExtra] = frozenset(),
        reference: Distributions | None = None,
    ) -> TokenValues:
        """Log-prob of every target, and the requested extras, from one forward of the model.

        Args:
            model: The policy.
            batch: The micro-batch.
            extras: Values to compute beside the log-probs; the others cost nothing.
            reference: Distributions of the reference on the same batch, for the KL; None for none.
        Raises:
            ModelError: reference and policy do not give probabilities to the same tokens.
        """

    def distributions(self, model: nn.Module, batch: PackedBatch) -> Distributions:
        """The next-token distributions at all predictors, without gradient, in a form that is cheap to hold."""


def completion_logps(forward: Forward, model: nn.Module, batch: PackedBatch) -> Tensor:
    """Log-prob of every completion, summed over its tokens. Shape: (completion,). Unit: nats."""
    return batch.sum_by_completion(forward.token_logps(model, batch))


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode (no dropout) inside the context; afterwards every module is in the mode it was in."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
