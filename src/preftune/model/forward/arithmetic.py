"""How numbers are computed, beside the weights: what rounding depends on."""

from dataclasses import dataclass
from typing import final

import torch
from transformers import TrainingArguments

__all__ = ["Arithmetic", "autocast_type"]


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


def autocast_type(arguments: TrainingArguments) -> torch.dtype | None:
    """Type of matrix products in training, or None for that of the weights."""
    if arguments.fp16:
        return torch.float16
    return torch.bfloat16 if arguments.bf16 else None
