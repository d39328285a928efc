"""Whether a policy orders the scored completions of a prompt as the data do."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from preftune.data.tokens.token_group import TokenGroup
from preftune.evaluation.pair_table import prompt_numbers
from preftune.metrics.intervals import Bootstrap, FloatArray, Interval, Statistic, ratio_of, sums_by_prompt

__all__ = ["ListAgreement", "best_of_list", "kendall_tau", "list_agreement"]

_SHORTEST = 3


@dataclass(frozen=True, slots=True)
class ListAgreement:
    """Agreement of implicit rewards and scores on lists of three completions or more whose scores differ.

    Args:
        num_lists: How many there are.
        kendall_tau: Mean of Kendall's tau-b over lists; 1: the same order, 0: unrelated, -1: the reverse.
        best_of_list: Share of lists in which the completion with the highest reward has the highest score.
        best_by_chance: What that share would be for a random choice.
    """

    num_lists: int
    kendall_tau: Interval
    best_of_list: Interval
    best_by_chance: float


def list_agreement(groups: Sequence[TokenGroup], rewards: Tensor, bootstrap: Bootstrap) -> ListAgreement | None:
    """How implicit rewards agree with scores, or None where there is no list.

    Args:
        groups: Those without scores, with fewer than three completions or with equal scores only do not count.
        rewards: Of all their completions, in order. Shape: (completion,).
        bootstrap: How intervals are made.
    """
    rows = []
    by_group = rewards.double().split([len(group.completions) for group in groups])
    for number, group, own in zip(prompt_numbers(groups), groups, by_group, strict=True):
        scores = np.array(group.scores)
        if len(scores) >= _SHORTEST and len(set(group.scores)) > 1:
            chance = float(np.mean(scores == scores.max()))
            rows.append((number, kendall_tau(scores, own.numpy()), best_of_list(scores, own.numpy()), chance))
    if not rows:
        return None
    numbers, taus, best, chance_of_each = (np.array(column) for column in zip(*rows, strict=True))
    prompts = np.unique(numbers, return_inverse=True)[1]
    num_prompts = int(prompts.max()) + 1
    counts = sums_by_prompt(np.ones(len(rows)), prompts, num_prompts)

    def mean(values: FloatArray) -> Statistic:
        return ratio_of(sums_by_prompt(values, prompts, num_prompts), counts)

    tau, best_share = bootstrap.interval(mean(taus), num_prompts), bootstrap.share(mean(best), num_prompts)
    return ListAgreement(len(rows), tau, best_share, float(chance_of_each.mean()))


def kendall_tau(scores: FloatArray, rewards: FloatArray) -> float:
    """Kendall's tau-b of two orders of the same completions.

    tau = (concordant - discordant pairs) / sqrt(pairs not tied in scores * pairs not tied in rewards)

    Args:
        scores: Not all equal. Shape: (completion,).
        rewards: Shape: (completion,).
    Source: Kendall 1945, Biometrika 33(3).
    Differs: 0 where all rewards are equal, which say nothing; scipy gives NaN.

    >>> kendall_tau(np.array([1.0, 2.0, 3.0]), np.array([0.1, 0.3, 0.2]))  # two pairs of three in order, one not
    0.3333333333333333
    >>> kendall_tau(np.array([1.0, 2.0, 3.0]), np.zeros(3))
    0.0
    """
    above = np.triu_indices(len(scores), k=1)
    by_score = np.sign(scores[:, None] - scores)[above]
    by_reward = np.sign(rewards[:, None] - rewards)[above]
    untied = np.count_nonzero(by_score) * np.count_nonzero(by_reward)
    return float((by_score * by_reward).sum() / np.sqrt(untied)) if untied else 0.0


def best_of_list(scores: FloatArray, rewards: FloatArray) -> float:
    """Whether the completion with the highest reward has the highest score; a share where several have that reward.

    >>> best_of_list(np.array([1.0, 3.0, 3.0]), np.array([0.5, 0.5, 0.1]))
    0.5
    """
    favourites = rewards == rewards.max()
    return float(np.mean(scores[favourites] == scores.max()))
