"""A mean with its uncertainty."""

import math
from dataclasses import dataclass

from torch import Tensor

__all__ = ["Estimate"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over independent values.

    Args:
        mean: Of the values.
        standard_error: Standard deviation of the mean; NaN for a single value, which says nothing of its spread.
        num_samples: How many values there were.
    """

    mean: float
    standard_error: float
    num_samples: int

    @staticmethod
    def of(values: Tensor) -> "Estimate":
        """The mean of `values`, shape (sample,), which must not be empty.

        >>> import torch
        >>> Estimate.of(torch.tensor([1.0, 3.0]))
        Estimate(mean=2.0, standard_error=1.0, num_samples=2)
        """
        count = values.numel()
        if count == 0:
            raise ValueError("there are no values, so they have no mean. Give at least one.")
        wide = values.detach().double()
        error = wide.std().item() / math.sqrt(count) if count > 1 else math.nan
        return Estimate(wide.mean().item(), error, count)

    @staticmethod
    def of_share(share: float, count: int) -> "Estimate":
        """The estimate of a probability from how often something happened in `count` tries.

        >>> Estimate.of_share(0.75, 300)
        Estimate(mean=0.75, standard_error=0.025, num_samples=300)
        """
        return Estimate(share, math.sqrt(share * (1 - share) / count), count)

    def __str__(self) -> str:
        """
        >>> str(Estimate(12.345, 0.0567, 200))
        '12.345 ± 0.057'
        """
        return f"{self.mean:.3f} ± {self.standard_error:.3f}"
