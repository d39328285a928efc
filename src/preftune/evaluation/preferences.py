"""Whether a policy prefers what people prefer, on data that it has not seen."""

from collections.abc import Sequence
from dataclasses import dataclass

from preftune.data.tokens.token_group import TokenGroup
from preftune.evaluation.by_prompt import PromptRecord, accuracy_by_prompt
from preftune.evaluation.calibration import Calibration, calibrate
from preftune.evaluation.lists import ListAgreement, list_agreement
from preftune.evaluation.pair_table import PairTable
from preftune.evaluation.reference_free import ReferenceFree, score_reference_free
from preftune.evaluation.slices import Slice, slice_pairs
from preftune.losses import PolicyLogps, ReferencedLogps
from preftune.metrics.implicit_reward import ImplicitReward
from preftune.metrics.intervals import Bootstrap, Interval

__all__ = ["PairAgreement", "Preferences", "evaluate_preferences"]


@dataclass(frozen=True, slots=True)
class PairAgreement:
    """How the implicit reward does on pairs.

    Args:
        num_pairs: How many there are.
        accuracy: Share of pairs whose chosen completion has the higher reward; a tie counts half.
        margin: Reward of the chosen minus that of the rejected completion.
        chosen_reward, rejected_reward: The two by themselves.
        calibration: Whether the margins are the log-odds that they claim to be.
        slices: Accuracy and margin on parts of the pairs.
    """

    num_pairs: int
    accuracy: Interval
    margin: Interval
    chosen_reward: Interval
    rejected_reward: Interval
    calibration: Calibration
    slices: tuple[Slice, ...]


@dataclass(frozen=True, slots=True)
class Preferences:
    """How a policy does on preference data.

    Args:
        num_groups: Prompts with their completions that were looked at.
        reward: What the implicit reward is, and its scale; None where there is none for want of a reference.
        pairs: By the implicit reward; None without it or without pairs.
        lists: The same for scored lists of completions.
        reference_free: By the policy's log-probs alone.
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
    """All that log-probs tell of a policy's preferences.

    Args:
        groups: Prompts with their completions, pairs and scores.
        logps: Of all their completions, in order: `referenced_logps` or `policy_logps`.
        reward: The implicit reward; None to do without.
        bootstrap: How intervals are made; default: 1000 resamples, 95 %.
        num_bins: Bins of the reliability curve.
        by_prompt: Gets the accuracy of each prompt; None to do without.
    Raises:
        ValueError: no group, or a reward that needs the reference that these log-probs lack.
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
