"""Training a table of logits on everything at once."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from preftune.losses import Argument, Part
from studies.enumerable.feedback import Feedback, Policy
from studies.enumerable.world import World

__all__ = ["fit"]

_LEARNING_RATE = 0.1


def fit(part: Part, feedback: Feedback, world: World, *, num_steps: int) -> Tensor:
    """Log-probs of the policy after `num_steps` steps of Adam on the expected loss, starting as the reference.

    Args:
        part: The loss and its options.
        feedback: Every row that there is, with its probability.
        world: Source of the reference.
        num_steps: Steps; the learning rate falls from 0.1 to 0 as half a cosine.
    Returns:
        Shape: (prompt, completion). Unit: nats.
    """
    logits = world.reference.clone().requires_grad_()
    optimizer = torch.optim.Adam([logits], lr=_LEARNING_RATE)
    state = torch.zeros(2, dtype=logits.dtype)
    for step in range(num_steps):
        optimizer.param_groups[0]["lr"] = _LEARNING_RATE * (1 + math.cos(math.pi * step / num_steps)) / 2
        policy = Policy(world, logits.log_softmax(-1), with_reference=part.loss.needs_reference)
        given = feedback.arguments(policy)
        state = _updated(part, state, given)
        optimizer.zero_grad()
        loss = feedback.weights @ part(*_taken(part, {**given, "state": state}))
        loss.backward()
        optimizer.step()
    return logits.detach().log_softmax(-1)


def _updated(part: Part, state: Tensor, given: Mapping[Argument, object]) -> Tensor:
    if part.loss.update is None:
        return state
    return part.updated({name: {**given, "state": state}[name] for name in part.loss.takes})


def _taken(part: Part, given: Mapping[Argument, object]) -> list[object]:
    return [given[name] for name in part.loss.takes]
