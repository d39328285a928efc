"""A row of the table of losses: a function, its inputs and the unit that its mean is over."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from preftune.losses.inputs import INPUTS, Argument, Feedback, Need

__all__ = ["Loss", "OptionValue", "Reward", "Unit"]

Unit = Literal["pair", "completion", "token", "prompt"]
"""Unit that the loss of a step is averaged over."""

Reward = Literal["logratio", "mean_logratio", "logp", "mean_logp"]
"""Quantity that the implicit reward is proportional to: policy minus reference, the policy's log-prob, or a mean."""

OptionValue = float | bool | str


@dataclass(frozen=True, slots=True)
class Loss:
    """One row of the table of losses.

    Args:
        function: From inputs to loss per row. Its keyword arguments are the options of the method.
        takes: Names of its positional parameters, in order.
        unit: Unit that the loss of a step is averaged over.
        needs_reference: True if it compares the policy with a reference.
        source: The paper.
        defaults: The paper's own value of each option that the function leaves open.
        reward: Quantity that the implicit reward is proportional to; None if the loss has none.
        scale: Option that is the implicit reward per nat; 1 where the loss has no such option.
        across_rows: True if the loss of a row depends on other rows, so that the function needs the whole step at once.
        joined_by: Option that, where it is false, makes rows independent of each other after all.
        tiltable: True if the reference enters only through differences of scale * logratio within a prompt, so that a
            further reward may tilt it: see `StepValues`.
        update: For a loss that takes `state`: (state, all its other arguments, options) -> the state with this step.
            A state is a tensor of shape (2,), zeros before the first step.
    """

    function: Callable[..., Tensor]
    takes: tuple[Argument, ...]
    unit: Unit
    needs_reference: bool
    source: str
    defaults: Mapping[str, OptionValue] = field(default_factory=dict)
    reward: Reward | None = None
    scale: str = "beta"
    across_rows: bool = False
    joined_by: str | None = None
    tiltable: bool = False
    update: Callable[..., Tensor] | None = None

    def __post_init__(self) -> None:
        unknown = [name for name in self.takes if name not in INPUTS]
        assert not unknown, f"{', '.join(unknown)}: not in the table of inputs"

    @property
    def feedback(self) -> Feedback:
        """Feedback that the loss learns from."""
        return next((kind for name in self.takes if (kind := INPUTS[name].feedback)), "demonstrations")

    def needs(self, need: Need) -> bool:
        """True if an input of the loss has this requirement.

        >>> from preftune.losses import LOSSES
        >>> LOSSES["tdpo"].needs("reference_distributions"), LOSSES["dpo"].needs("reference_distributions")
        (True, False)
        """
        return any(need in INPUTS[name].needs for name in self.takes)
