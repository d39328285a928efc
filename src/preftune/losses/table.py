"""The one table of losses. A new method is a function, a row here and a row in the tests."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from preftune.losses.demonstrations import sft
from preftune.losses.pairwise import dpo

__all__ = ["LOSSES", "Feedback", "Loss", "Unit"]

Feedback = Literal["pairs", "completions"]
"""What a row of a loss's arguments is: a chosen and a rejected completion, or one completion."""

Unit = Literal["pair", "completion", "token"]
"""What the loss of a step is the mean over."""


@dataclass(frozen=True, slots=True)
class Loss:
    """One row of the table.

    Args:
        function: Log-probs to loss per row. Its keyword arguments are the options of the method.
        feedback: What it learns from.
        unit: What the loss of a step is the mean over.
        needs_reference: Whether it compares the policy with a reference.
        source: The paper.
        defaults: The paper's own value of each option that the function leaves open.
    """

    function: Callable[..., Tensor]
    feedback: Feedback
    unit: Unit
    needs_reference: bool
    source: str
    defaults: Mapping[str, float]


LOSSES: Mapping[str, Loss] = {
    "sft": Loss(sft, "completions", "token", needs_reference=False, source="maximum likelihood", defaults={}),
    "dpo": Loss(dpo, "pairs", "pair", needs_reference=True, source="arXiv:2305.18290", defaults={"beta": 0.1}),
}
