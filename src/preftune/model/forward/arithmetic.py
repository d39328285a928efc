"""Device and precision of a computation."""

from dataclasses import dataclass
from typing import final

import torch
from transformers import TrainingArguments

from preftune.errors import ConfigError
from preftune.settings import ModelSettings


@final
@dataclass(frozen=True, slots=True)
class Arithmetic:
    """Device and precision under which models are run.

    Training, evaluation and generation take both from here, so that a model is evaluated as it was trained.

    Args:
        device: Device of the models.
        autocast: Type of matrix products, or None for the type of the weights.
    """

    device: torch.device
    autocast: torch.dtype | None = None

    @staticmethod
    def of(settings: ModelSettings) -> "Arithmetic":
        """Arithmetic of the settings on this machine: on its accelerator (CUDA, MPS, XPU, ...) if it has one.

        Raises:
            ConfigError: the machine does not support the precision.
        """
        has_cuda, wanted = torch.cuda.is_available(), settings.precision
        if wanted == "auto":
            wanted = "bf16" if has_cuda and torch.cuda.is_bf16_supported() else "fp32"
        if wanted == "fp16" and not has_cuda:
            raise ConfigError(["precision = fp16: needs a CUDA GPU, and none was found. Use bf16 or fp32."])
        accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        types = {"bf16": torch.bfloat16, "fp16": torch.float16}
        return Arithmetic(accelerator or torch.device("cpu"), types.get(wanted))

    @staticmethod
    def of_arguments(arguments: TrainingArguments) -> "Arithmetic":
        """Arithmetic of a trainer with these arguments, on the device of this process."""
        autocast = torch.float16 if arguments.fp16 else torch.bfloat16 if arguments.bf16 else None
        return Arithmetic(arguments.device, autocast)

    def context(self) -> torch.autocast:
        """Context in which models compute like this."""
        return torch.autocast(self.device.type, self.autocast, enabled=self.autocast is not None)

    def __str__(self) -> str:
        """Text for the console, such as `cuda, bfloat16 products`."""
        return self.device.type if self.autocast is None else f"{self.device.type}, {type_name(self.autocast)} products"


def type_name(dtype: torch.dtype) -> str:
    """Name of a type without the library's.

    >>> type_name(torch.bfloat16)
    'bfloat16'
    """
    return str(dtype).removeprefix("torch.")
