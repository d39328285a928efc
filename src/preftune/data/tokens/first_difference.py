"""Pairs of which only what differs is learned from: the steps that both share are context."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from preftune.data.tokens.boundary import common_prefix_length
from preftune.data.tokens.token_group import TokenGroup, TokenWeights
from preftune.errors import DataError

__all__ = ["weighted_from_first_difference"]


def weighted_from_first_difference(group: TokenGroup) -> TokenGroup:
    """The group with weights of 0 for tokens that chosen and rejected share at their start; others keep theirs.

    Without it these tokens are scored too. In the loss of DPO they cancel out, in others they do not, and they count
    in lengths.

    Args:
        group: With pairs. A completion may be in several if it parts from all of its partners at the same token.
    Raises:
        DataError: a completion parts from its partners at different tokens, so it has no single set of weights.
    Source: Lai et al. 2024 (Step-DPO), arXiv:2406.18629, where the correct steps before are a part of the prompt.

    >>> from preftune.groups import Origin, Pair
    >>> ids = lambda *values: np.array(values, dtype=np.int32)
    >>> group = TokenGroup(ids(5), (ids(6, 7, 2), ids(6, 8, 9, 2)), (Pair(0, 1),), Origin("sums.jsonl", 1))
    >>> [weights.tolist() for weights in weighted_from_first_difference(group).weights]
    [[0.0, 1.0, 1.0], [0.0, 1.0, 1.0, 1.0]]
    """
    starts: dict[int, int] = {}
    for pair in group.pairs:
        shared = common_prefix_length([group.completions[pair.chosen], group.completions[pair.rejected]])
        for index in (pair.chosen, pair.rejected):
            if starts.setdefault(index, shared) != shared:
                raise DataError(
                    f"{group.origin}: completion {index} shares {starts[index]} tokens with one completion and "
                    f"{shared} with another, so the first difference is not one place. Give each pair a row of its "
                    "own, pair lists with --pairing best_vs_worst, or use --token-weights data."
                )
    return replace(group, weights=tuple(_zeroed(group, starts)))


def _zeroed(group: TokenGroup, starts: dict[int, int]) -> Sequence[TokenWeights]:
    known = group.weights or tuple(np.ones(length, dtype=np.float32) for length in group.completion_lengths)
    return [
        np.where(np.arange(len(weights)) < starts.get(index, 0), np.float32(0), weights)
        for index, weights in enumerate(known)
    ]
