"""What distributions tell beside the log-prob of a target, from the same tiles."""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from preftune.model.forward.head.logit_sums import LogitSums
from preftune.model.forward.head.token_values import TokenExtra

__all__ = ["ExtraSums"]


@final
@dataclass(frozen=True, slots=True, eq=False)
class ExtraSums:
    """Sums over the vocabulary for entropy and collision, beside those of `LogitSums`.

    With weights w = exp(logit - largest) of sum Z, so that p = w / Z:

    entropy       = log Z - (sum of (logit - largest) * w) / Z
    log_collision = log (sum of w^2) - 2 * log Z

    Args:
        sums: Largest logit and Z, changed in place by `add_`.
        weighted: Sum of (logit - largest) * w, or None if not asked for. Shape: (target,).
        squared: Sum of w^2, or None if not asked for. Shape: (target,).
    """

    sums: LogitSums
    weighted: Tensor | None
    squared: Tensor | None

    @classmethod
    def of_nothing(cls, sums: LogitSums, extras: frozenset[TokenExtra]) -> "ExtraSums":
        """The sums before the first tile."""
        return cls(
            sums,
            weighted=torch.zeros_like(sums.total) if "entropy" in extras else None,
            squared=torch.zeros_like(sums.total) if "log_collision" in extras else None,
        )

    def add_(self, tokens: slice, tile: Tensor) -> None:
        """Take in the logits of some tokens on a stretch of the vocabulary, which are overwritten."""
        logits = None if self.weighted is None else tile.clone()
        former_total = self.sums.total[tokens].clone()
        change = self.sums.add_(tokens, tile)
        shrink, lowest = change.exp(), torch.finfo(tile.dtype).min
        if self.weighted is not None and logits is not None:
            # The clamps keep what has weight 0 from being infinite: 0 * inf is no number.
            former = self.weighted[tokens] + former_total * change.clamp_min(lowest)
            below = logits.sub_(self.sums.largest[tokens, None]).clamp_min_(lowest)
            self.weighted[tokens] = former.mul_(shrink) + below.mul_(tile).sum(-1)
        if self.squared is not None:
            self.squared[tokens] *= shrink.square_()
            self.squared[tokens] += tile.square_().sum(-1)

    def entropy(self) -> Tensor | None:
        """Entropy over all tiles. Shape: (target,)."""
        return None if self.weighted is None else self.sums.total.log() - self.weighted / self.sums.total

    def log_collision(self) -> Tensor | None:
        """Log-prob that two draws are the same token, over all tiles. Shape: (target,)."""
        return None if self.squared is None else self.squared.log() - 2 * self.sums.total.log()
