"""Log-probs of many groups under policy and reference, micro-batch by micro-batch."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from preftune.data.progress import track
from preftune.data.tokens.token_group import TokenGroup
from preftune.losses import PolicyLogps, ReferencedLogps
from preftune.model.forward.arithmetic import Arithmetic
from preftune.model.forward.forward import Forward, completion_logps, evaluating
from preftune.model.forward.packed_batch import PackedBatch, pack
from preftune.model.reference.reference import Reference
from preftune.planning.sizes import sizes_of
from preftune.planning.step import plan_step

_GROUPS_PER_PLAN = 256
"""Planning takes the square of it."""


@final
@dataclass(frozen=True, slots=True)
class Runner:
    """Options for running models over many groups: forward, device and precision, memory budget.

    Args:
        forward: Computes log-probs.
        arithmetic: Device and precision. None: the precision that the caller has set up.
        max_tokens: Memory budget of one forward. A group that exceeds it is run alone.
        show_progress: Show a progress bar.
    """

    forward: Forward
    arithmetic: Arithmetic | None = None
    max_tokens: int = 8192
    show_progress: bool = False

    def by_completion(
        self, policy: nn.Module, groups: Sequence[TokenGroup], compute: Callable[[PackedBatch], Tensor]
    ) -> Tensor:
        """Values of all completions, in the order of the groups and of the completions within each.

        Args:
            policy: In evaluation mode meanwhile. The groups are moved to its device.
            groups: At least one.
            compute: Values of a micro-batch's completions, without gradient. Shape: (value, completion).
        Returns:
            On the CPU. Shape: (value, completion).
        """
        device = next(policy.parameters()).device
        batches = list(_micro_batches(groups, self.forward, self.max_tokens))
        found: dict[int, Tensor] = {}
        context = nullcontext() if self.arithmetic is None else self.arithmetic.context()
        with torch.no_grad(), evaluating(policy), context:
            for indices in track(batches, "log-probs", total=len(batches), show=self.show_progress):
                values = compute(pack([groups[index] for index in indices]).to(device)).cpu()
                counts = [len(groups[index].completions) for index in indices]
                found.update(zip(indices, values.split(counts, dim=1), strict=True))
        return torch.cat([found[index] for index in range(len(groups))], dim=1)


def referenced_logps(
    policy: nn.Module, reference: Reference, groups: Sequence[TokenGroup], runner: Runner
) -> ReferencedLogps:
    """Log-probs of all completions, in the order of the groups and of the completions within each.

    Args:
        policy: Run without dropout and gradients, on its own device.
        reference: Model that the policy is compared with.
        groups: At least one.
        runner: Forward, precision and memory budget.
    Returns:
        On the CPU. Shape of all fields: (completion,).
    Raises:
        ValueError: a reference that gives no log-probs.
    """

    def both(batch: PackedBatch) -> Tensor:
        of_reference = reference.logps(runner.forward, policy, batch)
        if of_reference is None:
            raise ValueError("the reference gives no log-probs. Give one that holds a model, such as FrozenCopy.")
        return torch.stack([completion_logps(runner.forward, policy, batch), of_reference])

    found = runner.by_completion(policy, groups, both)
    return ReferencedLogps(policy=found[0], reference=found[1], num_tokens=_num_tokens(groups))


def policy_logps(policy: nn.Module, groups: Sequence[TokenGroup], runner: Runner) -> PolicyLogps:
    """Log-probs of all completions under one model; arguments as in `referenced_logps`."""
    found = runner.by_completion(policy, groups, lambda batch: completion_logps(runner.forward, policy, batch)[None])
    return PolicyLogps(found[0], _num_tokens(groups))


def _micro_batches(groups: Sequence[TokenGroup], forward: Forward, max_tokens: int) -> Iterator[tuple[int, ...]]:
    sizes = sizes_of(groups)
    order = sorted(range(len(groups)), key=lambda index: -sizes[index].packed_tokens)
    for start in range(0, len(order), _GROUPS_PER_PLAN):
        chunk = order[start : start + _GROUPS_PER_PLAN]
        yield from plan_step(chunk, sizes, num_ranks=1, max_tokens=max_tokens, layout=forward.layout).ranks[0]


def _num_tokens(groups: Sequence[TokenGroup]) -> Tensor:
    return torch.tensor([length for group in groups for length in group.completion_lengths])
