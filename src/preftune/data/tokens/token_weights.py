"""From weights of characters to weights of tokens."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from preftune.data.tokens.token_group import TokenWeights
from preftune.groups import WeightedSpan

__all__ = ["Offsets", "character_weights", "token_weights"]

Offsets = npt.NDArray[np.int64]
"""First character of each token and the one behind its last. Shape: (token, 2)."""


def character_weights(length: int, start: int, spans: Sequence[WeightedSpan]) -> npt.NDArray[np.float64]:
    """How much each character of a text counts.

    Args:
        length: Of the text.
        start: Where the characters that the spans count begin in the text.
        spans: They do not overlap. What none of them holds counts 1.
    Returns:
        Shape: (character,).

    >>> character_weights(5, 1, [WeightedSpan(0, 2, 0.5)])
    array([1. , 0.5, 0.5, 1. , 1. ])
    """
    weights = np.ones(length)
    for span in spans:
        weights[start + span.start : start + span.stop] = span.weight
    return weights


def token_weights(offsets: Offsets, of_characters: npt.NDArray[np.float64]) -> TokenWeights:
    """How much each token counts: the mean over its characters. A token without characters counts 1.

    So a token across the border of a span counts in part, and a text cut into tokens differently counts as much:
    where tokens do not share characters, sum(token weight * its characters) is the sum of the characters' weights.

    Args:
        offsets: Of tokens in the text. Shape: (token, 2).
        of_characters: Shape: (character,).

    >>> token_weights(np.array([[0, 2], [2, 3], [0, 0]]), np.array([0.0, 1.0, 4.0]))
    array([0.5, 4. , 1. ], dtype=float32)
    """
    sums = np.concatenate([[0.0], of_characters.cumsum()])
    starts, stops = offsets[:, 0], offsets[:, 1]
    lengths = stops - starts
    means = (sums[stops] - sums[starts]) / np.maximum(lengths, 1)
    return np.where(lengths > 0, means, 1.0).clip(min=0).astype(np.float32)
