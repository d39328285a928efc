"""The world: a few prompts, all their completions, a reference, a true reward, and the policy that is best."""

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["World", "expected_reward", "kl_divergence", "total_variation"]


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """Prompts that share a list of completions, each one token long.

    Args:
        reference: Log-probs of the reference. Shape: (prompt, completion). Unit: nats.
        rewards: True reward of each completion. Shape: (prompt, completion). Unit: nats.
        beta: Reward per nat of KL(policy || reference).
    """

    reference: Tensor
    rewards: Tensor
    beta: float

    @staticmethod
    def drawn(num_prompts: int = 3, num_completions: int = 8, *, beta: float = 0.5, seed: int = 0) -> "World":
        """A random world in float64: logits of the reference and rewards are standard normal."""
        generator = torch.Generator().manual_seed(seed)
        logits, rewards = torch.randn(2, num_prompts, num_completions, generator=generator, dtype=torch.float64)
        return World(logits.log_softmax(-1), rewards, beta)

    @property
    def optimum(self) -> Tensor:
        """Log-probs of the policy with the highest reward - beta * KL(policy || reference). Shape: as the reference.

        optimum = reference * exp(rewards / beta) / Z

        Source: Rafailov et al. 2023, arXiv:2305.18290, Eq. 4.

        >>> World(torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.0, 1.0]]), beta=0.5).optimum.exp()  # 1 to e^2
        tensor([[0.1192, 0.8808]])
        """
        return (self.reference + self.rewards / self.beta).log_softmax(-1)


def total_variation(first: Tensor, second: Tensor) -> float:
    """Half the sum of the differences of the probabilities, mean over prompts; arguments: log-probs.

    >>> round(total_variation(torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.9, 0.1]]).log()), 4)
    0.4
    """
    return float((first.exp() - second.exp()).abs().sum(-1).mean() / 2)


def kl_divergence(first: Tensor, second: Tensor) -> float:
    """KL(first || second), mean over prompts, in nats; arguments: log-probs.

    >>> round(kl_divergence(torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.9, 0.1]]).log()), 4)
    0.5108
    """
    return float((first.exp() * (first - second)).sum(-1).mean())


def expected_reward(policy: Tensor, world: World) -> float:
    """Mean true reward of what the policy writes, in nats; argument: log-probs."""
    return float((policy.exp() * world.rewards).sum(-1).mean())
