"""The seam between the trainer and the way log-probs are computed."""

from typing import Protocol

from torch import Tensor, nn

from preftune.planning import Layout
from preftune.policy.packed_batch import PackedBatch

__all__ = ["Forward", "completion_logps"]


class Forward(Protocol):
    """A way to compute the log-probs of a batch's completions under a model."""

    @property
    def layout(self) -> Layout:
        """What a batch costs: the planner counts the tokens of this layout against the budget."""

    def token_logps(self, model: nn.Module, batch: PackedBatch) -> Tensor:
        """Log-prob of every target, in float32 or better. Shape: (target,). Unit: nats.

        `model` is called as a whole, wrapped or not, so that the hooks of DDP and FSDP fire.
        """


def completion_logps(forward: Forward, model: nn.Module, batch: PackedBatch) -> Tensor:
    """Log-prob of every completion, summed over its tokens. Shape: (completion,). Unit: nats."""
    return batch.sum_by_completion(forward.token_logps(model, batch))
