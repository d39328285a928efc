"""How numbers are computed, beside the weights: what rounding depends on."""

from dataclasses import dataclass
from typing import final

import torch

__all__ = ["Arithmetic"]


@final
@dataclass(frozen=True, slots=True)
class Arithmetic:
    """Device and autocast of training, under which reference log-probs are computed as well.

    Args:
        device: Where the reference is run.
        autocast: Type of matrix products, or None for that of the weights.
    """

    device: torch.device
    autocast: torch.dtype | None = None

    def context(self) -> torch.autocast:
        """A context in which models compute like this."""
        return torch.autocast(self.device.type, self.autocast, enabled=self.autocast is not None)

    def __str__(self) -> str:
        """For people: `cuda, bfloat16 products`."""
        return self.device.type if self.autocast is None else f"{self.device.type}, {type_name(self.autocast)} products"


def type_name(dtype: torch.dtype) -> str:
    """Name of a type without the library's.

    >>> type_name(torch.bfloat16)
    'bfloat16'
    """
    return str(dtype).removeprefix("torch.")
