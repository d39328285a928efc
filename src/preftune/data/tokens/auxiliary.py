"""Further reward of completions: the weighted sum of scores beside the one that pairs are made by."""

from collections.abc import Mapping
from dataclasses import replace

from preftune.data.tokens.token_group import TokenGroup
from preftune.errors import DataError
from preftune.groups import PromptGroup

__all__ = ["LENGTH", "with_auxiliary"]

LENGTH = "length"
"""The score that every completion has: its number of tokens."""


def with_auxiliary(tokens: TokenGroup, group: PromptGroup, weights: Mapping[str, float]) -> TokenGroup:
    """The token group with the further reward of each completion.

    auxiliary = sum over names of weight * score, where the score `length` is the number of tokens, after any cut

    Args:
        tokens: The group as token ids.
        group: The same group before tokenization, with the scores.
        weights: By the name of the score; none: nothing changes.
    Raises:
        DataError: a completion that lacks a score.
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
