"""Weights of tokens, and the auxiliary reward of completions."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from preftune.data.tokens.token_group import TokenGroup, TokenWeights, common_prefix_length
from preftune.errors import DataError
from preftune.groups import PromptGroup, WeightedSpan

Offsets = npt.NDArray[np.int64]
"""First character of each token and the one after its last. Shape: (token, 2)."""


def character_weights(length: int, start: int, spans: Sequence[WeightedSpan]) -> npt.NDArray[np.float64]:
    """The weight of each character of a text.

    Args:
        start: Position in the text of the character that the spans call 0.
        spans: Spans that do not overlap. Characters outside them have weight 1.
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
    """The weight of each token: the mean over its characters, or 1 for a token without characters.

    So a token across the border of a span counts in part, and the total does not depend on the tokenization: if tokens
    share no characters, sum(token weight * number of its characters) = sum(character weights).

    Args:
        offsets: Characters of each token. Shape: (token, 2).
        of_characters: Shape: (character,).

    >>> token_weights(np.array([[0, 2], [2, 3], [0, 0]]), np.array([0.0, 1.0, 4.0]))
    array([0.5, 4. , 1. ], dtype=float32)
    """
    sums = np.concatenate([[0.0], of_characters.cumsum()])
    starts, stops = offsets[:, 0], offsets[:, 1]
    lengths = stops - starts
    means = (sums[stops] - sums[starts]) / np.maximum(lengths, 1)
    return np.where(lengths > 0, means, 1.0).clip(min=0).astype(np.float32)


LENGTH = "length"
"""Name of the built-in score: the number of tokens of the completion."""


def with_auxiliary(tokens: TokenGroup, group: PromptGroup, weights: Mapping[str, float]) -> TokenGroup:
    """The token group with the auxiliary reward of each completion.

    auxiliary = sum over names of weight * score, where the score `length` is the number of tokens after truncation

    Args:
        group: The same group before tokenization, with the scores.
        weights: Weight by name of the score. If empty, the group is returned unchanged.
    Source: Zhou et al. 2023 (MODPO), arXiv:2310.03708: the weighted rewards of all objectives
        but the one that the pairs show, w_{-k}^T r_{-k} / w_k.

    >>> import numpy as np
    >>> from preftune.groups import Completion, Origin
    >>> ids = np.array([5, 6], dtype=np.int32)
    >>> group = PromptGroup("2+2=", (Completion("4", extra_scores={"safety": 3.0}),), (), Origin("sums.jsonl", 1))
    >>> tokens = TokenGroup(ids, (ids,), (), group.origin)
    >>> with_auxiliary(tokens, group, {"safety": 0.5, "length": -0.25}).auxiliary  # 0.5 * 3 - 0.25 * 2
    (1.0,)
    """
    if not weights:
        return tokens
    rewards = []
    for completion, num_tokens in zip(group.completions, tokens.completion_lengths, strict=True):
        scores = {LENGTH: float(num_tokens), **completion.extra_scores}
        missing = [name for name in weights if name not in scores]
        if missing:
            raise DataError(
                f"{group.origin}: a completion has no score '{missing[0]}', but --auxiliary asks for it. Give the "
                "score of every completion, or leave it out of --auxiliary."
            )
        rewards.append(sum(weight * scores[name] for name, weight in weights.items()))
    return replace(tokens, auxiliary=tuple(rewards))


def weighted_from_first_difference(group: TokenGroup) -> TokenGroup:
    """The group with weight 0 for the tokens that chosen and rejected share at their start.

    In the loss of DPO these tokens cancel; in other losses they do not, and they count towards lengths.

    Args:
        group: A completion may be in several pairs if it diverges from all partners at the same token.
    Raises:
        DataError: a completion diverges from its partners at different tokens, so its weights are not unique.
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
