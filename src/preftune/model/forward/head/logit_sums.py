"""Sums over the vocabulary that grow tile by tile."""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

__all__ = ["LogitSums"]


@final
@dataclass(frozen=True, slots=True, eq=False)
class LogitSums:
    """The largest logit of each token, and the sum of exp(logit - largest), over the tiles so far.

    Args:
        largest, total: Changed in place. Shape: (target,).
    """

    largest: Tensor
    total: Tensor

    @classmethod
    def of_nothing(cls, num_targets: int, *, dtype: torch.dtype, device: torch.device) -> "LogitSums":
        """The sums before the first tile."""
        largest = torch.full((num_targets,), -torch.inf, dtype=dtype, device=device)
        return cls(largest, torch.zeros_like(largest))

    def add_(self, tokens: slice, tile: Tensor) -> Tensor:
        """Take in the logits of some tokens on a stretch of the vocabulary.

        Args:
            tokens: Whose logits.
            tile: The logits; become exp(logit - largest). Shape: (token of the tile, vocabulary of the tile).
        Returns:
            By how much the largest logits have grown, negated: sums of exp(logit - largest) are to be multiplied by
            its exponential. At most 0, -inf at first. Shape: (token of the tile,).
        """
        larger = torch.maximum(self.largest[tokens], tile.amax(-1))
        change = self.largest[tokens] - larger
        self.total[tokens] *= change.exp()
        self.total[tokens] += tile.sub_(larger[:, None]).exp_().sum(-1)
        self.largest[tokens] = larger
        return change

    def normalizers(self) -> Tensor:
        """Logsumexp over all tiles. Shape: (target,)."""
        return self.total.log().add_(self.largest)
