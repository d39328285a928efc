"""Whether the weights of a run are spread over processes."""

from accelerate.state import AcceleratorState
from transformers import TrainingArguments

__all__ = ["is_sharded"]


def is_sharded(arguments: TrainingArguments) -> bool:
    """Whether each process holds a part of every weight (FSDP): by the arguments, or by accelerate's own settings.

    To be asked once the trainer is made, which reads these.
    """
    return bool(arguments.fsdp) or getattr(AcceleratorState(), "fsdp_plugin", None) is not None
