"""Ranks of a run: work that the main process does for all, decisions that all take alike, and the loss of a rank."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from torch import distributed
from transformers import TrainingArguments

from preftune.errors import ConfigError, PreftuneError, TrainingError, first_line
from preftune.settings.foreign import NO_DEEPSPEED

Result = TypeVar("Result")

_DEEPSPEED_VARIABLE = "ACCELERATE_USE_DEEPSPEED"
"""Set by `accelerate launch` for a config file or flags that ask for DeepSpeed."""
_LOST_TEXTS = ("gloo", "NCCL error")
"""Parts of messages of collectives without a partner: not all are of a class of their own."""


def on_main(work: Callable[[], Result]) -> Result:
    """Do work in the main process once all ranks have arrived; every rank waits for it.

    Files that several ranks depend on are made, moved and removed in here, so that no rank sees them half done.

    Args:
        work: Its result is sent to all ranks, so it is small and can be pickled.
    Returns:
        The result of `work`, on every rank.
    Raises:
        PreftuneError: the one that `work` raised, on every rank; `is_of_main` is true on the others.
        TrainingError: on the others, if `work` raised another exception.

    >>> on_main(lambda: 2 + 2)
    4
    """
    state = PartialState()
    if state.num_processes == 1:
        return work()
    state.wait_for_everyone()
    result: Result | None = None
    failure: Exception | None = None
    if state.is_main_process:
        try:
            result = work()
        except Exception as error:
            failure = error
    known = failure if isinstance(failure, PreftuneError) else failure and TrainingError(first_line(failure))
    ((result, known),) = broadcast_object_list([(result, known)])
    if failure is not None:
        raise failure
    if known is not None:
        known.is_of_main = True
        raise known
    return result


def highest_over_ranks(value: int) -> int:
    """The highest value of all ranks, on every rank.

    >>> highest_over_ranks(15)
    15
    """
    state = PartialState()
    if state.num_processes == 1:
        return value
    highest = torch.tensor(value, device=state.device)
    distributed.all_reduce(highest, op=distributed.ReduceOp.MAX)
    return int(highest)


@contextmanager
def naming_lost_ranks() -> Iterator[None]:
    """Context in which the end of another rank is a message.

    Raises:
        TrainingError: a collective failed, because another process has ended or cannot be reached.
    """
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, PreftuneError) or not _is_of_lost_rank(error):
            raise
        raise TrainingError(
            "another process of the run has ended or cannot be reached, and no process can go on alone. If it printed "
            "an error, correct that; if not, it was killed, for lack of memory for example. Continue with --resume."
        ) from error


def _is_of_lost_rank(error: RuntimeError) -> bool:
    return isinstance(error, distributed.DistError) or any(text in str(error) for text in _LOST_TEXTS)


def check_no_deepspeed(arguments: TrainingArguments | None = None) -> None:
    """Check that neither the launcher nor the arguments ask for DeepSpeed, before anything imports it.

    Raises:
        ConfigError: one of them does.
    """
    problems = [*deepspeed_problems()]
    if arguments is not None and arguments.deepspeed:
        problems.append(f"deepspeed = {arguments.deepspeed}: {NO_DEEPSPEED}")
    if problems:
        raise ConfigError(problems)


def deepspeed_problems() -> Iterator[str]:
    """A message if the launcher asks for DeepSpeed."""
    value = os.environ.get(_DEEPSPEED_VARIABLE, "")
    if value.lower() in ("true", "1", "t", "y", "yes", "on"):
        yield f"{_DEEPSPEED_VARIABLE} = {value}, as `accelerate launch` sets it: {NO_DEEPSPEED}"
