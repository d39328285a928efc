"""Implicit reward of a tuned model."""

from dataclasses import dataclass

from torch import Tensor

from preftune.losses import Method, PolicyLogps, ReferencedLogps, Reward


@dataclass(frozen=True, slots=True)
class ImplicitReward:
    """The reward implied by a tuned policy's log-probs.

    reward = beta * kind

    Args:
        kind: `logratio`, policy minus reference; `logp`, the policy's log-prob; `mean_...`, per token;
            `output`, that of a reward model, which stands in the place of log-probs.
        beta: Reward per nat, > 0.
    Raises:
        ValueError: a beta out of its range.
    Source: Rafailov et al. 2023, arXiv:2305.18290, Eq. 5, without the term that all completions of a prompt share.

    >>> import torch
    >>> logps = ReferencedLogps(torch.tensor([-12.0]), torch.tensor([-14.0]), num_tokens=torch.tensor([4]))
    >>> ImplicitReward("logratio", 0.1).of(logps), ImplicitReward("mean_logp", 2.0).of(logps)
    (tensor([0.2000]), tensor([-6.]))
    """

    kind: Reward
    beta: float

    def __post_init__(self) -> None:
        if not self.beta > 0:
            raise ValueError(f"beta = {self.beta}: must be above 0.")

    @staticmethod
    def of_method(method: Method, beta: float | None = None) -> "ImplicitReward | None":
        """The reward of a method, with its own scale or `beta` in its place; None for one that has no reward."""
        part = method.rewarding
        if part is None or part.loss.reward is None:
            return None
        return ImplicitReward(part.loss.reward, part.reward_scale if beta is None else beta)

    @property
    def needs_reference(self) -> bool:
        """True if the reward compares the policy with a reference."""
        return self.kind in ("logratio", "mean_logratio")

    def of(self, logps: PolicyLogps | ReferencedLogps) -> Tensor:
        """The reward of each completion. Shape: (completion,).

        Raises:
            ValueError: it needs a reference, and these log-probs come without.
        """
        return self.beta * self.unscaled(logps)

    def unscaled(self, logps: PolicyLogps | ReferencedLogps) -> Tensor:
        """The reward at beta = 1. Shape: (completion,). Unit: nats."""
        if self.kind in ("logp", "output"):
            return logps.policy
        if self.kind == "mean_logp":
            return logps.mean_logp
        if not isinstance(logps, ReferencedLogps):
            raise ValueError(f"the implicit reward is a {self.kind}, which needs a reference. Name one.")
        return logps.logratio if self.kind == "logratio" else logps.mean_logratio
