"""Log-probs of many groups under policy and reference, micro-batch by micro-batch."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from preftune.data.progress import track
from preftune.data.tokens.token_group import TokenGroup
from preftune.losses import PolicyLogps, ReferencedLogps
from preftune.model.forward.forward import Forward, completion_logps
from preftune.model.forward.packed_batch import PackedBatch, pack
from preftune.model.reference.reference import Reference
from preftune.planning import plan_step, sizes_of

__all__ = ["by_completion", "evaluating", "policy_logps", "referenced_logps"]

_GROUPS_PER_PLAN = 256
"""Planning takes the square of it."""


def referenced_logps(
    policy: nn.Module,
    reference: Reference,
    groups: Sequence[TokenGroup],
    forward: Forward,
    *,
    max_tokens: int = 8192,
    show_progress: bool = False,
) -> ReferencedLogps:
    """Log-probs of all completions, in the order of the groups and of the completions within each.

    Args:
        policy: Run without dropout and gradients, on its own device.
        reference: What it is compared with.
        groups: At least one.
        forward: How log-probs are computed.
        max_tokens: Memory budget of one forward. A group that exceeds it is run alone.
        show_progress: Whether to show a progress bar.
    Returns:
        On the CPU. Shape of all fields: (completion,).
    Raises:
        ValueError: a reference that gives no log-probs.
    """

    def both(batch: PackedBatch) -> Tensor:
        held_fixed = reference.logps(forward, policy, batch)
        if held_fixed is None:
            raise ValueError("the reference gives no log-probs. Give one that holds a model, such as FrozenCopy.")
        return torch.stack([completion_logps(forward, policy, batch), held_fixed])

    found = by_completion(policy, groups, both, forward, max_tokens=max_tokens, show_progress=show_progress)
    return ReferencedLogps(policy=found[0], reference=found[1], num_tokens=_num_tokens(groups))


def policy_logps(
    policy: nn.Module,
    groups: Sequence[TokenGroup],
    forward: Forward,
    *,
    max_tokens: int = 8192,
    show_progress: bool = False,
) -> PolicyLogps:
    """Log-probs of all completions under one model; arguments as in `referenced_logps`."""
    found = by_completion(
        policy,
        groups,
        lambda batch: completion_logps(forward, policy, batch)[None],
        forward,
        max_tokens=max_tokens,
        show_progress=show_progress,
    )
    return PolicyLogps(found[0], _num_tokens(groups))


def by_completion(
    policy: nn.Module,
    groups: Sequence[TokenGroup],
    compute: Callable[[PackedBatch], Tensor],
    forward: Forward,
    *,
    max_tokens: int,
    show_progress: bool = False,
) -> Tensor:
    """Values of all completions, in the order of the groups and of the completions within each.

    Args:
        policy: In evaluation mode meanwhile; says the device.
        groups: At least one.
        compute: Values of a micro-batch's completions, without gradient. Shape: (value, completion).
        forward: Says what a group costs.
        max_tokens, show_progress: As in `referenced_logps`.
    Returns:
        On the CPU. Shape: (value, completion).
    """
    device = next(policy.parameters()).device
    batches = list(_micro_batches(groups, forward, max_tokens))
    found: dict[int, Tensor] = {}
    with torch.no_grad(), evaluating(policy):
        for indices in track(batches, "log-probs", total=len(batches), show=show_progress):
            values = compute(pack([groups[index] for index in indices]).to(device)).cpu()
            counts = [len(groups[index].completions) for index in indices]
            found.update(zip(indices, values.split(counts, dim=1), strict=True))
    return torch.cat([found[index] for index in range(len(groups))], dim=1)


def _micro_batches(groups: Sequence[TokenGroup], forward: Forward, max_tokens: int) -> Iterator[tuple[int, ...]]:
    sizes = sizes_of(groups)
    order = sorted(range(len(groups)), key=lambda index: -sizes[index].packed_tokens)
    for start in range(0, len(order), _GROUPS_PER_PLAN):
        chunk = order[start : start + _GROUPS_PER_PLAN]
        yield from plan_step(chunk, sizes, num_ranks=1, max_tokens=max_tokens, layout=forward.layout).ranks[0]


def _num_tokens(groups: Sequence[TokenGroup]) -> Tensor:
    return torch.tensor([length for group in groups for length in group.completion_lengths])


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
