"""Steps that run out of memory."""

import gc
from collections.abc import Callable
from typing import final

import torch
from torch import Tensor

from preftune.errors import TrainingError
from preftune.training.random_state import RandomState
from preftune.training.steps import Step, StepSource


def is_out_of_memory(error: BaseException) -> bool:
    """True if an error means out of memory: on a GPU, in Python, or in PyTorch's CPU allocator.

    >>> is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"))
    True
    """
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def ways_out_of_memory(biggest_group: int) -> str:
    """Advice to users."""
    return (
        f"Lower max_tokens_per_microbatch (DPOTrainer: per_device_train_batch_size), down to the {biggest_group:,} "
        "tokens of the biggest prompt with its completions; lower max_length; recompute activations with "
        "gradient_checkpointing; or train an adapter with lora."
    )


@final
class OutOfMemory:
    """Runs steps. When memory runs out, it halves the budget and runs the step again, or raises with advice.

    It retries once. It never retries with a budget set by the user or with several processes, because other ranks
    cannot cut the step again by themselves.
    """

    def __init__(self, *, may_halve: bool = False, say: Callable[[str], None] = lambda _: None) -> None:
        self._may_halve = may_halve
        self._say = say

    def run(
        self, learn: Callable[[Step], Tensor], step: Step, steps: StepSource, *, undo: Callable[[], None]
    ) -> Tensor:
        """The result of `learn` for the step, or for the same step cut into smaller micro-batches.

        Args:
            learn: Adds the gradients of a step and returns its loss.
            undo: Reverts a failed `learn`: gradients, for example.
        """
        random_state = RandomState.now() if self._may_halve else None
        try:
            return learn(step)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            if not self._halve(steps, step):
                raise TrainingError(
                    f"out of memory with micro-batches of {steps.biggest_micro_batch(step):,} tokens. "
                    + ways_out_of_memory(steps.biggest_group)
                ) from error
        # Here, because the traceback of an exception that is being handled keeps all activations in memory.
        undo()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        assert random_state is not None, "a budget was halved"
        random_state.restore()
        return self.run(learn, steps.cut_again(step), steps, undo=undo)

    def _halve(self, steps: StepSource, step: Step) -> bool:
        """Halve the budget of this and all further steps. False if that is not possible."""
        tried = steps.biggest_micro_batch(step)
        budget = max(tried // 2, steps.biggest_group)
        if not self._may_halve or budget >= tried:
            return False
        self._may_halve = False
        steps.set_max_tokens(budget)
        self._say(f"out of memory: going on with micro-batches of {budget:,} tokens in place of {tried:,}")
        return True
