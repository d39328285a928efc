"""A row of the table of losses, and the table of inputs that losses can ask for by the name of a parameter.

A new input is a row here and its computation in `preftune.training.step_values`. All other code asks the table.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from preftune.losses.logps import PolicyLogps, ReferencedLogps, TokenLogps

Argument = str
"""Name of an input; `Loss` refuses one that is not in the table."""

Feedback = Literal["pairs", "thumbs", "lists", "demonstrations"]
"""Kind of data that a loss learns from: pairs, thumbs up or down, ranked lists, or completions to imitate."""

Need = Literal[
    "margins",
    "mismatched",
    "token_logps",
    "reference_token_logps",
    "reference_distributions",
    "log_collision",
    "state",
    "rewards",
]
"""Requirements of an input beyond the log-prob of each completion.

`margins`: rows that say by how much the chosen completion is better. `mismatched`: log-probs of completions after
prompts of other rows. `token_logps`, `reference_token_logps`: the log-prob of each token under the policy or the
reference. `reference_distributions`: the reference's next-token distributions, so that it must be in memory.
`log_collision`: log sum_v p(v)^2 of the policy's next-token distributions. `state`: memory over steps. `rewards`: the
model is a reward model, with one output instead of a language model's head.
"""


@dataclass(frozen=True, slots=True)
class Input:
    """One row of the table.

    Args:
        name: Positional parameter of the losses that take it.
        shape: With the dimension's name, such as `(pair,)`.
        feedback: Feedback that only losses with this input learn from; None if it says nothing about that.
        needs: Requirements beyond the log-prob of each completion.
        cost: The same for users, as `preftune methods` prints it; empty if there are none.
        probe: From log-probs of two completions at policy = reference = 0 to two rows of the input.
    """

    name: Argument
    shape: str
    text: str
    feedback: Feedback | None = None
    needs: frozenset[Need] = frozenset()
    cost: str = ""
    probe: Callable[[PolicyLogps | ReferencedLogps], Any] = lambda logps: torch.zeros_like(logps.policy)


def _same(logps: PolicyLogps | ReferencedLogps) -> PolicyLogps | ReferencedLogps:
    return logps


def _tokens(logps: PolicyLogps | ReferencedLogps) -> TokenLogps:
    reference = logps.reference if isinstance(logps, ReferencedLogps) else None
    return TokenLogps(logps.policy, reference, torch.arange(len(logps.policy)), torch.ones_like(logps.policy))


_KL: Mapping[str, Any] = {
    "needs": frozenset({"token_logps", "reference_distributions"}),
    "cost": "the reference's distribution at every token, so its log-probs cannot be cached",
}
_ALIGNMENT: Mapping[str, Any] = {
    "needs": frozenset({"token_logps", "log_collision"}),
    "cost": "the policy's distribution at every token",
}
_SHARED: Mapping[str, Any] = {
    "needs": frozenset({"token_logps", "reference_token_logps"}),
    "cost": "log-probs per token, not only per completion",
    "probe": _same,
}
_REWARDS: Mapping[str, Any] = {
    "needs": frozenset({"rewards"}),
    "cost": "a reward model: one output in place of the language model's head",
    "probe": lambda logps: torch.zeros_like(logps.policy),
}

_ROWS = (
    Input("chosen", "(pair,)", "Log-probs of the preferred completion.", feedback="pairs", probe=_same),
    Input("rejected", "(pair,)", "Log-probs of the other completion.", feedback="pairs", probe=_same),
    Input(
        "margins",
        "(pair,)",
        "By how much the chosen completion is better, on the data's scale.",
        needs=frozenset({"margins"}),
        cost="a margin in the data, or scores of both completions",
        probe=lambda logps: torch.ones_like(logps.policy),
    ),
    Input("chosen_kl", "(pair,)", "KL(reference || policy) summed over the tokens of `chosen`, in nats.", **_KL),
    Input("rejected_kl", "(pair,)", "KL(reference || policy) summed over the tokens of `rejected`, in nats.", **_KL),
    Input(
        "chosen_alignment",
        "(pair,)",
        "Mean over the tokens of `chosen` of log p(token) - log sum_v p(v)^2 under the policy, in nats, detached.",
        **_ALIGNMENT,
    ),
    Input("rejected_alignment", "(pair,)", "The same over the tokens of `rejected`.", **_ALIGNMENT),
    Input(
        "chosen_shared",
        "(pair,)",
        "Log-probs of the first tokens of `chosen`, as many as the shorter of both completions has.",
        **_SHARED,
    ),
    Input("rejected_shared", "(pair,)", "The same of `rejected`.", **_SHARED),
    Input("completions", "(completion,)", "Log-probs of all completions.", probe=_same),
    Input(
        "desirable",
        "(completion,)",
        "True for thumbs up, false for thumbs down.",
        feedback="thumbs",
        probe=lambda logps: torch.arange(len(logps.policy)) % 2 == 0,
    ),
    Input(
        "scores",
        "(completion,)",
        "Quality on the data's scale, higher is better.",
        feedback="lists",
        probe=lambda logps: torch.arange(float(len(logps.policy))),
    ),
    Input(
        "prompts",
        "(completion,)",
        "Index of the prompt that the completion answers, counted from 0 without gaps.",
        probe=lambda logps: torch.zeros(len(logps.policy), dtype=torch.long),
    ),
    Input(
        "mismatched",
        "(mismatch,)",
        "Log-probs of completions after prompts of other rows, over the whole step, detached.",
        needs=frozenset({"mismatched"}),
        cost="log-probs of mismatched completions, computed without gradient",
        probe=_same,
    ),
    Input(
        "tokens",
        "(token,)",
        "Log-probs of the tokens of all completions, `TokenLogps`.",
        needs=frozenset({"token_logps", "reference_token_logps"}),
        cost="log-probs per token, not only per completion",
        probe=_tokens,
    ),
    Input("chosen_rewards", "(pair,)", "Rewards of the preferred completion.", feedback="pairs", **_REWARDS),
    Input("rejected_rewards", "(pair,)", "Rewards of the other completion.", feedback="pairs", **_REWARDS),
    Input("rewards", "(completion,)", "Rewards of all completions.", **_REWARDS),
    Input(
        "state",
        "(2,)",
        "Result of `Loss.update` over the steps so far, this one included.",
        needs=frozenset({"state"}),
        cost="running statistics of earlier steps, saved in checkpoints",
        probe=lambda _: torch.tensor([0.0, 1.0]),
    ),
)

INPUTS: Mapping[Argument, Input] = {row.name: row for row in _ROWS}
"""All inputs by name."""


Unit = Literal["pair", "completion", "token", "prompt"]
"""Unit that the loss of a step is averaged over."""

Reward = Literal["logratio", "mean_logratio", "logp", "mean_logp", "output"]
"""Quantity that the reward is proportional to: policy minus reference, the policy's log-prob, a mean of one of them, or
the output of a reward model."""

OptionValue = float | bool | str


@dataclass(frozen=True, slots=True)
class Loss:
    """One row of the table of losses.

    Args:
        function: From inputs to loss per row. Its keyword arguments are the options of the method.
        takes: Names of its positional parameters, in order.
        needs_reference: True if it compares the policy with a reference.
        source: The paper.
        defaults: The paper's own value of each option that the function leaves open.
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
