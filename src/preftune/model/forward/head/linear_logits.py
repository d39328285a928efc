"""The logits of a linear head before they are computed."""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

__all__ = ["LinearLogits"]


@final
@dataclass(frozen=True, slots=True, eq=False)
class LinearLogits:
    """What logits are made of: some hundred numbers per token, where the logits are as many as the vocabulary has.

    logits = scale * (hidden @ weight.T + bias), then softcap * tanh(logits / softcap) if there is a softcap

    Args:
        hidden: Shape: (target, width).
        weight: Shape: (vocabulary, width).
        bias: Shape: (vocabulary,).
        scale: Factor on the logits.
        softcap: Bound on the logits, > 0; None for no bound.
    """

    hidden: Tensor
    weight: Tensor
    bias: Tensor | None = None
    scale: float = 1.0
    softcap: float | None = None

    def computed(self) -> Tensor:
        """All logits at once. Shape: (target, vocabulary).

        >>> hidden, weight = torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 0.0], [1.0, 1.0]])
        >>> LinearLogits(hidden, weight, scale=2.0).computed()
        tensor([[2., 6.]])
        """
        logits = torch.nn.functional.linear(self.hidden, self.weight, self.bias) * self.scale
        return logits if self.softcap is None else self.softcap * torch.tanh(logits / self.softcap)
