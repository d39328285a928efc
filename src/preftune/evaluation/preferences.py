"""Agreement of a policy with held-out preference data."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from preftune.data.tokens.token_group import TokenGroup
from preftune.evaluation.by_prompt import PromptRecord, accuracy_by_prompt
from preftune.evaluation.calibration import Calibration, calibrate
from preftune.evaluation.pairs import PairTable, Slice, pair_indices, prompt_numbers, slice_pairs
from preftune.losses import PolicyLogps, ReferencedLogps
from preftune.metrics.implicit_reward import ImplicitReward
from preftune.metrics.intervals import Bootstrap, FloatArray, IntArray, Interval, Statistic, ratio_of, sums_by_prompt

_SHORTEST_LIST = 3


@dataclass(frozen=True, slots=True)
class PairAgreement:
    """Agreement of the implicit reward with the labels of pairs.

    Args:
        accuracy: Share of pairs whose chosen completion has the higher reward; a tie counts half.
        margin: Mean reward of the chosen minus that of the rejected completion.
        chosen_reward, rejected_reward: Mean rewards of either side.
    """

    num_pairs: int
    accuracy: Interval
    margin: Interval
    chosen_reward: Interval
    rejected_reward: Interval
    calibration: Calibration
    slices: tuple[Slice, ...]


@dataclass(frozen=True, slots=True)
class ListAgreement:
    """Agreement of implicit rewards and scores on lists of three completions or more whose scores differ.

    Args:
        kendall_tau: Mean of Kendall's tau-b over lists; 1: the same order, 0: unrelated, -1: the reverse.
        best_of_list: Share of lists in which the completion with the highest reward has the highest score.
        best_by_chance: The same share for a random choice.
    """

    num_lists: int
    kendall_tau: Interval
    best_of_list: Interval
    best_by_chance: float


@dataclass(frozen=True, slots=True)
class ReferenceFree:
    """Log-probs of completions, and how often the chosen one is likelier.

    Args:
        logp: Mean log-prob of a completion. Unit: nats.
        logp_per_token: Log-prob of all completions over their number of tokens. Unit: nats.
        chosen_per_token, rejected_per_token: The same for the completions on either side of pairs; None without pairs.
        accuracy_by_sum: Share of pairs whose chosen completion has the higher log-prob; None without pairs.
        accuracy_by_mean: The same by log-prob per token.
    """

    num_completions: int
    logp: Interval
    logp_per_token: Interval
    chosen_per_token: Interval | None
    rejected_per_token: Interval | None
    accuracy_by_sum: Interval | None
    accuracy_by_mean: Interval | None


@dataclass(frozen=True, slots=True)
class Preferences:
    """Agreement of a policy with preference data.

    Args:
        reward: The implicit reward; None if it needs a reference and there is none.
        pairs: Agreement on pairs by the implicit reward; None without it or without pairs.
        lists: Agreement on scored lists of completions; None without them.
    """

    num_groups: int
    reward: ImplicitReward | None
    pairs: PairAgreement | None
    lists: ListAgreement | None
    reference_free: ReferenceFree


def evaluate_preferences(
    groups: Sequence[TokenGroup],
    logps: PolicyLogps | ReferencedLogps,
    reward: ImplicitReward | None,
    *,
    bootstrap: Bootstrap | None = None,
    num_bins: int = 10,
    by_prompt: PromptRecord | None = None,
) -> Preferences:
    """Compare a policy's log-probs with preference data.

    Args:
        groups: Prompts with their completions, pairs and scores.
        logps: Log-probs of all their completions, in order: `referenced_logps` or `policy_logps`.
        reward: The implicit reward; None leaves `pairs` and `lists` out.
        bootstrap: Method of the intervals. Default: 1000 resamples, 95 %.
        by_prompt: Receives the accuracy of each prompt.
    Raises:
        ValueError: no group, or a reward that needs a reference and log-probs without one.
    """
    if not groups:
        raise ValueError("groups: is empty, so there is nothing to evaluate on. Give preference data.")
    bootstrap = bootstrap or Bootstrap()
    table = None if reward is None else PairTable.of(groups, logps, reward)
    if by_prompt is not None and table is not None:
        by_prompt["accuracy"] = accuracy_by_prompt(groups, table)
    return Preferences(
        num_groups=len(groups),
        reward=reward,
        pairs=None if table is None else _agreement(table, bootstrap, num_bins),
        lists=None if reward is None else list_agreement(groups, reward.of(logps), bootstrap),
        reference_free=score_reference_free(groups, logps, bootstrap),
    )


def _agreement(table: PairTable, bootstrap: Bootstrap, num_bins: int) -> PairAgreement:
    columns = (table.margin, table.chosen_reward, table.rejected_reward)
    margin, chosen, rejected = (bootstrap.interval(table.mean_of(column), table.num_prompts) for column in columns)
    return PairAgreement(
        num_pairs=len(table),
        accuracy=bootstrap.share(table.mean_of(table.is_right), table.num_prompts),
        margin=margin,
        chosen_reward=chosen,
        rejected_reward=rejected,
        calibration=calibrate(table, bootstrap, num_bins=num_bins),
        slices=slice_pairs(table, bootstrap),
    )


def list_agreement(groups: Sequence[TokenGroup], rewards: Tensor, bootstrap: Bootstrap) -> ListAgreement | None:
    """Agreement of implicit rewards with scores, or None if there is no list.

    Args:
        groups: Those without scores, with fewer than three completions or with equal scores do not count.
        rewards: Rewards of all their completions, in order. Shape: (completion,).
    """
    rows = []
    by_group = rewards.double().split([len(group.completions) for group in groups])
    for number, group, own in zip(prompt_numbers(groups), groups, by_group, strict=True):
        scores = np.array(group.scores)
        if len(scores) >= _SHORTEST_LIST and len(set(group.scores)) > 1:
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
    Differs: 0 if all rewards are equal; scipy returns NaN.

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
    """1 if the completion with the highest reward has the highest score, else 0; a share if several have that reward.

    >>> best_of_list(np.array([1.0, 3.0, 3.0]), np.array([0.5, 0.5, 0.1]))
    0.5
    """
    favourites = rewards == rewards.max()
    return float(np.mean(scores[favourites] == scores.max()))


def score_reference_free(
    groups: Sequence[TokenGroup], logps: PolicyLogps | ReferencedLogps, bootstrap: Bootstrap
) -> ReferenceFree:
    """Scores of completions under the policy alone."""
    rows = _Rows.of(groups, logps)
    every = torch.arange(len(logps.policy))
    chosen, rejected = pair_indices(groups).unbind(1)
    return ReferenceFree(
        num_completions=len(every),
        logp=rows.interval(bootstrap, every, rows.logps, np.ones_like(rows.logps)),
        logp_per_token=rows.interval(bootstrap, every, rows.logps, rows.num_tokens),
        chosen_per_token=rows.per_token(bootstrap, chosen),
        rejected_per_token=rows.per_token(bootstrap, rejected),
        accuracy_by_sum=_accuracy(groups, logps, ImplicitReward("logp", 1.0), bootstrap),
        accuracy_by_mean=_accuracy(groups, logps, ImplicitReward("mean_logp", 1.0), bootstrap),
    )


def _accuracy(
    groups: Sequence[TokenGroup], logps: PolicyLogps | ReferencedLogps, reward: ImplicitReward, bootstrap: Bootstrap
) -> Interval | None:
    table = PairTable.of(groups, logps, reward)
    return None if table is None else bootstrap.share(table.mean_of(table.is_right), table.num_prompts)


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Completions of all groups. Shape of all fields: (completion,)."""

    prompts: IntArray
    logps: FloatArray
    num_tokens: FloatArray

    @staticmethod
    def of(groups: Sequence[TokenGroup], logps: PolicyLogps | ReferencedLogps) -> "_Rows":
        counts = [len(group.completions) for group in groups]
        prompts = np.repeat(prompt_numbers(groups), counts)
        return _Rows(prompts, logps.policy.double().numpy(), logps.num_tokens.double().numpy())

    def per_token(self, bootstrap: Bootstrap, kept: Tensor) -> Interval | None:
        return self.interval(bootstrap, kept, self.logps, self.num_tokens) if len(kept) else None

    def interval(self, bootstrap: Bootstrap, kept: Tensor, above: FloatArray, below: FloatArray) -> Interval:
        """Sum of `above` over sum of `below` for the completions in `kept`, each as often as it occurs there."""
        index = kept.numpy()
        prompts = np.unique(self.prompts[index], return_inverse=True)[1]
        num_prompts = int(prompts.max()) + 1
        sums = (sums_by_prompt(values[index], prompts, num_prompts) for values in (above, below))
        return bootstrap.interval(ratio_of(*sums), num_prompts)
