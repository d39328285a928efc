"""All feedback that the world can give, each row with its probability."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations, permutations
from typing import Protocol

import torch
from torch import Tensor

from preftune.losses import Argument, PolicyLogps, ReferencedLogps
from studies.enumerable.world import World

__all__ = ["Demonstrations", "Feedback", "Lists", "Pairs", "Policy", "Thumbs"]


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """A policy as losses see it.

    Args:
        world: Its prompts, completions and reference.
        logps: Log-prob of each completion. Shape: (prompt, completion). Unit: nats.
        with_reference: Give the log-probs of the reference too.
    """

    world: World
    logps: Tensor
    with_reference: bool

    def rows(self, prompts: Tensor, completions: Tensor) -> PolicyLogps | ReferencedLogps:
        """Log-probs of these completions of these prompts. Shape of arguments and fields: (row,)."""
        policy, num_tokens = self.logps[prompts, completions], torch.ones_like(prompts)
        if not self.with_reference:
            return PolicyLogps(policy, num_tokens)
        return ReferencedLogps(policy, self.world.reference[prompts, completions], num_tokens)

    def alignment(self, prompts: Tensor, completions: Tensor) -> Tensor:
        """log p(completion) - log sum p^2, without gradient. Shape: (row,)."""
        logps = self.logps.detach()
        return (logps - (2 * logps).logsumexp(-1, keepdim=True))[prompts, completions]

    def kl_from_reference(self) -> Tensor:
        """KL(reference || policy). Shape: (prompt,). Unit: nats."""
        return (self.world.reference.exp() * (self.world.reference - self.logps)).sum(-1)


class Feedback(Protocol):
    """Rows to learn from. `weights`: probability of each row; shape: (row,), sum 1."""

    @property
    def weights(self) -> Tensor: ...

    def arguments(self, policy: Policy) -> Mapping[Argument, object]:
        """All that a loss can be given of these rows."""


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Two different completions of a prompt, drawn from the reference, and which one is preferred.

    Args:
        weights: Probability of each pair. Shape: (pair,).
        prompts, chosen, rejected: Indices. Shape: (pair,).
        margins: True reward of the chosen one minus that of the rejected one. Shape: (pair,).
    """

    weights: Tensor
    prompts: Tensor
    chosen: Tensor
    rejected: Tensor
    margins: Tensor

    @staticmethod
    def of(world: World, *, by_score: bool = False) -> "Pairs":
        """Every pair in both orders, with its probability under Bradley and Terry.

        Args:
            world: Prompts are equally likely.
            by_score: Always prefer the better completion, as if scores had decided. If false, by Bradley and Terry.
        """
        gap = world.rewards[:, :, None] - world.rewards[:, None, :]
        preferred = (gap > 0).to(gap.dtype) if by_score else gap.sigmoid()
        reference = world.reference.exp()
        weights = reference[:, :, None] * reference[:, None, :] * preferred
        weights = weights * (1 - torch.eye(reference.shape[1], dtype=weights.dtype))
        prompts, chosen, rejected = weights.nonzero(as_tuple=True)
        kept = prompts, chosen, rejected
        return Pairs(weights[kept] / weights.sum(), *kept, gap[kept])

    def arguments(self, policy: Policy) -> Mapping[Argument, object]:
        """Arguments of losses of pairs."""
        chosen, rejected = (policy.rows(self.prompts, index) for index in (self.chosen, self.rejected))
        kl = policy.kl_from_reference()[self.prompts]
        return {
            "chosen": chosen,
            "rejected": rejected,
            "chosen_shared": chosen,
            "rejected_shared": rejected,
            "chosen_kl": kl,
            "rejected_kl": kl,
            "chosen_alignment": policy.alignment(self.prompts, self.chosen),
            "rejected_alignment": policy.alignment(self.prompts, self.rejected),
            "margins": self.margins,
        }

    def in_equal_parts(self, count: int) -> "Pairs":
        """As `count` equally likely rows, for a loss that compares rows with each other."""
        rows = _equal_parts(self.weights, count)
        return Pairs(_even(count), self.prompts[rows], self.chosen[rows], self.rejected[rows], self.margins[rows])


@dataclass(frozen=True, slots=True, eq=False)
class Thumbs:
    """A completion drawn from the reference, and whether it is good: with probability sigmoid(reward).

    Args:
        weights: Probability of each row. Shape: (completion,).
        prompts, completions: Indices. Shape: (completion,).
        desirable: Shape: (completion,).
    """

    weights: Tensor
    prompts: Tensor
    completions: Tensor
    desirable: Tensor

    @staticmethod
    def of(world: World) -> "Thumbs":
        """Every completion, once good and once bad."""
        up = world.rewards.sigmoid()
        weights = world.reference.exp()[:, :, None] * torch.stack([1 - up, up], dim=-1) / len(up)
        prompts, completions, is_good = weights.nonzero(as_tuple=True)
        return Thumbs(weights[prompts, completions, is_good], prompts, completions, is_good.bool())

    def arguments(self, policy: Policy) -> Mapping[Argument, object]:
        """Arguments of losses of thumbs."""
        return {
            "completions": policy.rows(self.prompts, self.completions),
            "desirable": self.desirable,
            "mismatched": _mean_mismatched(policy),
        }

    def in_equal_parts(self, count: int) -> "Thumbs":
        """As `count` equally likely rows, for a loss that compares rows with each other."""
        rows = _equal_parts(self.weights, count)
        return Thumbs(_even(count), self.prompts[rows], self.completions[rows], self.desirable[rows])


@dataclass(frozen=True, slots=True, eq=False)
class Lists:
    """Several completions of a prompt with scores.

    Args:
        weights: Probability of each list. Shape: (list,).
        prompts: Index of each list's prompt. Shape: (list,).
        completions: Index of each completion. Shape: (list, place).
        scores: Higher is better. Shape: (list, place).
    """

    weights: Tensor
    prompts: Tensor
    completions: Tensor
    scores: Tensor

    @staticmethod
    def of_orders(world: World, size: int = 3) -> "Lists":
        """Lists of `size` different completions, drawn from the reference, in each order with its probability.

        The orders are those of Plackett and Luce for the true rewards; scores fall evenly from 1 to 0.
        """
        num_prompts, num_completions = world.rewards.shape
        sets = torch.tensor(list(combinations(range(num_completions), size)))
        orders = sets[:, torch.tensor(list(permutations(range(size))))].flatten(0, 1)
        completions = orders.repeat(num_prompts, 1)
        prompts = torch.arange(num_prompts).repeat_interleave(len(orders))
        rewards = world.rewards[prompts[:, None], completions]
        order_logps = (rewards - rewards.flip(1).logcumsumexp(1).flip(1)).sum(1)
        logps = world.reference[prompts[:, None], completions].sum(1) + order_logps
        scores = torch.linspace(1, 0, size, dtype=rewards.dtype).expand(len(completions), size)
        return Lists(logps.softmax(0), prompts, completions, scores)

    @staticmethod
    def of_scores(world: World) -> "Lists":
        """One list per prompt: all its completions, with their true rewards as scores."""
        num_prompts, num_completions = world.rewards.shape
        completions = torch.arange(num_completions).repeat(num_prompts, 1)
        return Lists(_even(num_prompts), torch.arange(num_prompts), completions, world.rewards)

    def arguments(self, policy: Policy) -> Mapping[Argument, object]:
        """Arguments of losses of lists."""
        num_lists, size = self.completions.shape
        return {
            "completions": policy.rows(self.prompts.repeat_interleave(size), self.completions.flatten()),
            "scores": self.scores.flatten(),
            "prompts": torch.arange(num_lists).repeat_interleave(size),
        }


@dataclass(frozen=True, slots=True, eq=False)
class Demonstrations:
    """A completion drawn from the reference, to be imitated.

    Args:
        weights: Probability of each row. Shape: (completion,).
        prompts, completions: Indices. Shape: (completion,).
    """

    weights: Tensor
    prompts: Tensor
    completions: Tensor

    @staticmethod
    def of(world: World) -> "Demonstrations":
        """Every completion."""
        weights = world.reference.exp() / len(world.reference)
        prompts, completions = weights.nonzero(as_tuple=True)
        return Demonstrations(weights[prompts, completions], prompts, completions)

    def arguments(self, policy: Policy) -> Mapping[Argument, object]:
        """Arguments of losses of demonstrations."""
        return {"completions": policy.rows(self.prompts, self.completions)}


def _mean_mismatched(policy: Policy) -> ReferencedLogps:
    """One row with the mean log-probs of a completion drawn from the reference for any other prompt."""
    reference = policy.world.reference
    num_prompts = len(reference)
    drawn = (reference.exp().sum(0) - reference.exp()) / (num_prompts * (num_prompts - 1))
    logps = [(drawn * logps).sum()[None] for logps in (policy.logps.detach(), reference)]
    return ReferencedLogps(logps[0], logps[1], torch.ones(1, dtype=torch.long))


def _equal_parts(weights: Tensor, count: int) -> Tensor:
    """Indices of rows, each as often as its weight asks for, within one. Shape: (count,)."""
    middles = (torch.arange(count, dtype=weights.dtype) + 0.5) / count
    return torch.searchsorted(weights.cumsum(0), middles).clamp(max=len(weights) - 1)


def _even(count: int) -> Tensor:
    return torch.full((count,), 1 / count, dtype=torch.float64)
