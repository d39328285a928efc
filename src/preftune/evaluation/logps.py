"""Log-probs of many groups under policy and reference, micro-batch by micro-batch."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from preftune.data import TokenGroup
from preftune.losses import ReferencedLogps
from preftune.planning import plan_step, sizes_of
from preftune.policy.forward import Forward, completion_logps
from preftune.policy.packed_batch import pack
from preftune.reference import Reference

__all__ = ["evaluating", "referenced_logps"]


def referenced_logps(
    policy: nn.Module,
    reference: Reference,
    groups: Sequence[TokenGroup],
    forward: Forward,
    *,
    max_tokens: int = 8192,
) -> ReferencedLogps:
    """Log-probs of all completions, in the order of the groups and of the completions within each.

    Args:
        policy: Run without dropout and gradients, on its own device.
        reference: What it is compared with.
        groups: At least one.
        forward: How log-probs are computed.
        max_tokens: Memory budget of one forward. A group that exceeds it is run alone.
    Returns:
        On the CPU. Shape of all fields: (completion,).
    Raises:
        ValueError: a reference that gives no log-probs.
    """
    device = next(policy.parameters()).device
    plan = plan_step(range(len(groups)), sizes_of(groups), num_ranks=1, max_tokens=max_tokens, layout=forward.layout)
    found: dict[int, Tensor] = {}
    with torch.no_grad(), evaluating(policy):
        for indices in plan.ranks[0]:
            batch = pack([groups[index] for index in indices]).to(device)
            held_fixed = reference.logps(forward, policy, batch)
            if held_fixed is None:
                raise ValueError("the reference gives no log-probs. Give one that holds a model, such as FrozenCopy.")
            both = torch.stack([completion_logps(forward, policy, batch), held_fixed]).cpu()
            counts = [len(groups[index].completions) for index in indices]
            found.update(zip(indices, both.split(counts, dim=1), strict=True))
    of_policy, of_reference = torch.cat([found[index] for index in range(len(groups))], dim=1)
    return ReferencedLogps(
        policy=of_policy,
        reference=of_reference,
        num_tokens=torch.tensor([length for group in groups for length in group.completion_lengths]),
    )


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for the time being; every module gets back the mode it had."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
