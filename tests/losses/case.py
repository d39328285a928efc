"""What a row of the table of loss tests is, and rows of log-probs to test on."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from preftune.losses import INPUTS, LOSSES, Argument, Method, PolicyLogps, ReferencedLogps

Arguments = dict[Argument, Any]


@dataclass(frozen=True)
class Case:
    """One row of the test table.

    Args:
        arguments: What the loss is given, by the name of its parameter, in a dtype. Log-probs of the policy ask for
            gradients.
        options: Of the method; those left out take their defaults.
        by_hand: Loss per row at `arguments`, computed by hand.
        signs: Sign of the gradient by the policy's log-probs, per argument: -1 where learning raises them, 1 where it
            lowers them. An argument whose gradient has no fixed sign is left out.
        at_start: Loss per row where policy equals reference, all else as in `arguments`; None where rows differ.
        shift_invariant: Whether a constant added to the policy's log-probs of all completions of a prompt changes
            nothing.
    """

    arguments: Callable[[torch.dtype], Arguments]
    options: Mapping[str, Any]
    by_hand: Sequence[float]
    signs: Mapping[Argument, int]
    at_start: float | None = None
    shift_invariant: bool = False


def referenced(
    policy: Sequence[float],
    reference: Sequence[float],
    dtype: torch.dtype = torch.float64,
    num_tokens: Sequence[int] | None = None,
) -> ReferencedLogps:
    return ReferencedLogps(
        torch.tensor(policy, dtype=dtype, requires_grad=True),
        torch.tensor(reference, dtype=dtype),
        torch.tensor(num_tokens or [10] * len(policy)),
    )


def policy_only(policy: Sequence[float], num_tokens: Sequence[int], dtype: torch.dtype = torch.float64) -> PolicyLogps:
    return PolicyLogps(torch.tensor(policy, dtype=dtype, requires_grad=True), torch.tensor(num_tokens))


def referenced_pairs(dtype: torch.dtype = torch.float64) -> Arguments:
    """Three pairs of unequal lengths. Logratios: chosen 1.8, -1.0, 1.0; rejected -1.3, 0.5, 5.5."""
    return {
        "chosen": referenced([-12.3, -3.0, -40.0], [-14.1, -2.0, -41.0], dtype, [12, 4, 30]),
        "rejected": referenced([-8.5, -7.0, -38.5], [-7.2, -7.5, -44.0], dtype, [8, 5, 25]),
    }


def chosen_and_rejected(dtype: torch.dtype = torch.float64) -> tuple[ReferencedLogps, ReferencedLogps]:
    """`referenced_pairs`, one side after the other."""
    pairs = referenced_pairs(dtype)
    return pairs["chosen"], pairs["rejected"]


def policy_pairs(dtype: torch.dtype = torch.float64) -> Arguments:
    """The same pairs without a reference."""
    return {
        "chosen": policy_only([-12.3, -3.0, -40.0], [12, 4, 30], dtype),
        "rejected": policy_only([-8.5, -7.0, -38.5], [8, 5, 25], dtype),
    }


def log_sigmoid(x: float) -> float:
    return -math.log1p(math.exp(-x))


def loss_of(name: str, arguments: Arguments, options: Mapping[str, Any] | None = None) -> Tensor:
    """Loss per row of one method; options left out take their defaults."""
    (part,) = Method.named(name, options).parts
    return part(*(arguments[argument] for argument in LOSSES[name].takes))


def reversed_rows(arguments: Arguments) -> Arguments:
    """The same rows in the opposite order."""
    turned: Arguments = {}
    for name, value in arguments.items():
        if INPUTS[name].shape not in ("(pair,)", "(completion,)"):
            turned[name] = value
        elif name == "prompts":
            turned[name] = (value.max() - value).flip(0)
        elif isinstance(value, Tensor):
            turned[name] = value.flip(0)
        else:
            turned[name] = value[torch.arange(len(value.policy) - 1, -1, -1)]
    return turned


def with_logps(arguments: Arguments, change: Callable[[Any], Any]) -> Arguments:
    """The arguments with `change` applied to all that hold log-probs."""
    return {
        name: change(value) if isinstance(value, (PolicyLogps, ReferencedLogps)) else value
        for name, value in arguments.items()
    }
