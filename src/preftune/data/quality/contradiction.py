"""Where what is better contradicts itself: pairs judged both ways, and cycles."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from preftune.data.quality.keys import KeyArray, mixed

__all__ = ["BothWays", "Cycles", "both_ways", "find_cycles", "pair_keys"]


@dataclass(frozen=True, slots=True)
class BothWays:
    """Pairs of completions that are judged both ways.

    Args:
        num_pairs: How many pairs of completions.
        edges: Whether each judgement is about such a pair. Shape: (judgement,).
    """

    num_pairs: int
    edges: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Cycles:
    """Completions each of which is better than each other by some way.

    Args:
        num_cycles: Sets of at least three such completions, as large as can be.
        edges: Whether each judgement is between two of one set. Shape: (judgement,).
    """

    num_cycles: int
    edges: NDArray[np.bool_]


def pair_keys(prompts: KeyArray, chosen: KeyArray, rejected: KeyArray) -> KeyArray:
    """A key of a prompt and two completions, whichever is better. Shape: (judgement,)."""
    return mixed(prompts, np.minimum(chosen, rejected), np.maximum(chosen, rejected))


def both_ways(prompts: KeyArray, chosen: KeyArray, rejected: KeyArray) -> BothWays:
    """Which judgements are contradicted by another.

    Args:
        prompts, chosen, rejected: Keys of each judgement's texts. Shape: (judgement,).

    >>> prompts, ones = np.ones(3, np.uint64), np.array([1, 2, 1], np.uint64)
    >>> both_ways(prompts, ones, np.array([2, 1, 3], np.uint64))
    BothWays(num_pairs=1, edges=array([ True,  True, False]))
    """
    _, index = np.unique(pair_keys(prompts, chosen, rejected), return_inverse=True)
    forward = np.bincount(index, weights=chosen < rejected) if len(index) else np.zeros(0)
    backward = np.bincount(index, weights=chosen > rejected) if len(index) else np.zeros(0)
    turned = (forward > 0) & (backward > 0)
    return BothWays(int(turned.sum()), turned[index])


def find_cycles(prompts: KeyArray, chosen: KeyArray, rejected: KeyArray) -> Cycles:
    """Strongly connected sets of completions, by Tarjan's algorithm.

    Args:
        prompts, chosen, rejected: Keys of each judgement's texts; no pair is judged both ways. Shape: (judgement,).

    >>> prompts, ones = np.ones(3, np.uint64), np.array([1, 2, 3], np.uint64)
    >>> find_cycles(prompts, ones, np.array([2, 3, 1], np.uint64)).num_cycles
    1
    """
    if not len(prompts):
        return Cycles(0, np.zeros(0, dtype=bool))
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    ends = np.concatenate([mixed(prompts, chosen), mixed(prompts, rejected)])
    nodes, index = np.unique(ends, return_inverse=True)
    start, stop = np.split(index, 2)
    graph: Any = coo_matrix((np.ones(len(start), dtype=np.int8), (start, stop)), shape=(len(nodes), len(nodes)))
    _, labels = connected_components(graph, directed=True, connection="strong")
    sizes = np.bincount(labels)
    inside = (labels[start] == labels[stop]) & (sizes[labels[start]] > 2)
    return Cycles(int((sizes > 2).sum()), inside)
