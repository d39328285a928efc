"""Which groups make a step."""

from collections.abc import Sequence

import numpy as np

__all__ = ["epoch_steps"]


def epoch_steps(
    num_units: Sequence[int], *, batch_size: int, seed: int, epoch: int, shuffle: bool = True
) -> list[tuple[int, ...]]:
    """Cut an epoch into steps of at most `batch_size` units. A pure function: a resumed run continues exactly.

    A group is never cut, so a step of groups with several units may hold fewer than `batch_size`; a group that holds
    more makes a step by itself. The last step holds what is left: nothing is dropped.

    Args:
        num_units: Units (pairs or completions) of each group; groups without any are left out.
        batch_size: Units of a step over all ranks, >= 1.
        seed, epoch: What the order depends on.
        shuffle: Whether to shuffle; else file order.
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
