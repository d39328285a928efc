"""Sharding of a run's weights over processes."""

from accelerate.state import AcceleratorState
from transformers import TrainingArguments

__all__ = ["is_sharded"]


def is_sharded(arguments: TrainingArguments) -> bool:
    """True if each process holds a part of every weight (FSDP), by the arguments or by accelerate's own settings.

    Call it after the trainer is made, which reads the latter.
    """
    return bool(arguments.fsdp) or getattr(AcceleratorState(), "fsdp_plugin", None) is not None
