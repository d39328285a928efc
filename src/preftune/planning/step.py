"""Steps of an epoch, and the micro-batches of a step."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from preftune.planning.sizes import TOKENS, GroupSize, Layout, WorkModel


def epoch_steps(
    num_units: Sequence[int], *, batch_size: int, seed: int, epoch: int, shuffle: bool = True
) -> list[tuple[int, ...]]:
    """Cut an epoch into steps of at most `batch_size` units. A pure function: a resumed run continues exactly.

    A group is never cut, so a step of groups with several units may hold fewer than `batch_size`; a group that holds
    more makes a step by itself. The last step holds what is left: nothing is dropped.

    Args:
        num_units: Units (pairs or completions) of each group; groups without any are left out.
        batch_size: Units of a step over all ranks, >= 1.
        seed, epoch: Determine the order.
        shuffle: Shuffle the groups; if false, keep file order.
    Returns:
        Indices of groups, step by step.

    >>> epoch_steps([1, 1, 2, 1, 0], batch_size=2, seed=0, epoch=0, shuffle=False)
    [(0, 1), (2,), (3,)]
    """
    assert batch_size >= 1, batch_size
    order = np.random.default_rng([seed, epoch]).permutation(len(num_units)) if shuffle else range(len(num_units))
    steps: list[tuple[int, ...]] = []
    step: list[int] = []
    filled = 0
    for index in map(int, order):
        if num_units[index] == 0:
            continue
        if step and filled + num_units[index] > batch_size:
            steps.append(tuple(step))
            step, filled = [], 0
        step.append(index)
        filled += num_units[index]
    return [*steps, tuple(step)] if step else steps


@dataclass(frozen=True, slots=True)
class MicroBatchShape:
    """Memory cost of a micro-batch, as groups are added to it."""

    packed_tokens: int = 0
    num_sequences: int = 0
    longest_sequence: int = 0

    @staticmethod
    def of(sizes: Iterable[GroupSize]) -> "MicroBatchShape":
        """The shape of groups of these sizes."""
        shape = MicroBatchShape()
        for size in sizes:
            shape = shape.with_group(size)
        return shape

    def with_group(self, size: GroupSize) -> "MicroBatchShape":
        """The shape after one more group."""
        return MicroBatchShape(
            self.packed_tokens + size.packed_tokens,
            self.num_sequences + len(size.completions),
            max(self.longest_sequence, size.longest_sequence),
        )

    def num_tokens(self, layout: Layout) -> int:
        """Tokens that the model sees, padding included.

        >>> shape = MicroBatchShape.of([GroupSize(prompt=5, completions=(2, 3), num_pairs=1)])
        >>> shape.num_tokens("packed"), shape.num_tokens("sequences")
        (10, 16)
        """
        return self.packed_tokens if layout == "packed" else self.num_sequences * self.longest_sequence


@dataclass(frozen=True, slots=True)
class StepPlan:
    """The micro-batches of one step: `ranks[r][m]` are indices of groups. All ranks have as many; some may be empty."""

    ranks: tuple[tuple[tuple[int, ...], ...], ...]


def plan_step(
    groups: Sequence[int],
    sizes: Sequence[GroupSize],
    *,
    num_ranks: int,
    max_tokens: int,
    layout: Layout,
    work: WorkModel = TOKENS,
) -> StepPlan:
    """Assign groups to ranks, balanced by work, then cut each rank's into micro-batches. Pure and the same everywhere.

    Args:
        groups: Indices of the step's groups.
        sizes: Size of each group of the data set.
        num_ranks: Processes that share the step, >= 1.
        max_tokens: Budget of a micro-batch, in tokens of `layout`. A group that exceeds it gets its own micro-batch;
            whoever sets the budget checks it against the biggest group.
        layout: Layout of the micro-batches.
        work: Work of a group, by which ranks are balanced.

    >>> sizes = [GroupSize(4, (2, 2), 1), GroupSize(2, (1, 1), 1), GroupSize(6, (3, 3), 1)]
    >>> plan_step([0, 1, 2], sizes, num_ranks=2, max_tokens=12, layout="packed").ranks
    (((2,),), ((0, 1),))
    """
    shares = _assign(groups, {group: work.of_group(sizes[group], layout) for group in groups}, num_ranks)
    ranks = [_cut(share, sizes, max_tokens, layout) for share in shares]
    most = max(len(micro_batches) for micro_batches in ranks)
    return StepPlan(tuple((*micro_batches, *[()] * (most - len(micro_batches))) for micro_batches in ranks))


def _assign(groups: Sequence[int], work: Mapping[int, float], num_ranks: int) -> list[list[int]]:
    """The longest work first, each to the rank that has least so far."""
    ranks: list[list[int]] = [[] for _ in range(num_ranks)]
    loads = [0.0] * num_ranks
    for group in sorted(groups, key=lambda group: (-work[group], group)):
        least = loads.index(min(loads))
        ranks[least].append(group)
        loads[least] += work[group]
    return ranks


def _longest_first(groups: Sequence[int], sizes: Sequence[GroupSize]) -> list[int]:
    return sorted(groups, key=lambda group: (-sizes[group].packed_tokens, group))


@dataclass(frozen=True, slots=True)
class _Bin:
    groups: tuple[int, ...] = ()
    shape: MicroBatchShape = MicroBatchShape()

    def with_group(self, group: int, size: GroupSize) -> "_Bin":
        return replace(self, groups=(*self.groups, group), shape=self.shape.with_group(size))


def _cut(groups: Sequence[int], sizes: Sequence[GroupSize], max_tokens: int, layout: Layout) -> list[tuple[int, ...]]:
    """First-fit decreasing: each group into the first micro-batch that has room, longest first."""
    bins: list[_Bin] = []
    for group in _longest_first(groups, sizes):
        for place, micro_batch in enumerate(bins):
            grown = micro_batch.with_group(group, sizes[group])
            if grown.shape.num_tokens(layout) <= max_tokens:
                bins[place] = grown
                break
        else:
            bins.append(_Bin().with_group(group, sizes[group]))
    return [micro_batch.groups for micro_batch in bins]
