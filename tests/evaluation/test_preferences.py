from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau
from torch import nn

from preftune.data.tokens.token_group import TokenGroup
from preftune.evaluation.preferences import (
    Preferences,
    best_of_list,
    evaluate_preferences,
    kendall_tau,
    list_agreement,
    score_reference_free,
)
from preftune.groups import Pair
from preftune.losses import PolicyLogps
from preftune.metrics.implicit_reward import ImplicitReward
from preftune.metrics.intervals import Bootstrap
from preftune.model.forward.sequences import SequencesForward
from preftune.model.reference.logps import Runner, policy_logps, referenced_logps
from preftune.model.reference.reference import FrozenCopy
from tests.builders import tiny_llama, token_groups
from tests.model.forward.tiny_models import one_by_one_logps

FORWARD = SequencesForward()
BOOTSTRAP = Bootstrap(num_resamples=100)


def preferences_of(policy: nn.Module, reference: nn.Module, groups: list[TokenGroup], beta: float = 0.1) -> Preferences:
    logps = referenced_logps(policy, FrozenCopy(reference), groups, Runner(FORWARD, max_tokens=40))  # type: ignore[arg-type]
    return evaluate_preferences(groups, logps, ImplicitReward("logratio", beta), bootstrap=BOOTSTRAP)


def test_accuracy_and_margin_are_those_of_the_plainest_forward() -> None:
    policy, reference = tiny_llama().eval(), tiny_llama().eval()
    groups = [
        *token_groups(7, completions=2),
        replace(token_groups(1, completions=3, seed=1)[0], pairs=(Pair(2, 0), Pair(1, 0))),
        *token_groups(2, completions=1, seed=2),
    ]
    margins = []
    with torch.no_grad():
        for group in groups[:-2]:
            lengths = group.completion_lengths
            gap = (one_by_one_logps(policy, [group]) - one_by_one_logps(reference, [group])).split(lengths)
            logratios = [part.sum() for part in gap]
            margins += [0.1 * (logratios[pair.chosen] - logratios[pair.rejected]) for pair in group.pairs]
    expected = torch.stack(margins)
    found = preferences_of(policy, reference, groups)
    assert found.num_groups == 10
    assert found.pairs is not None
    assert (found.pairs.num_pairs, found.pairs.margin.num_prompts) == (9, 8)
    assert found.pairs.margin.value == pytest.approx(expected.mean().item(), abs=1e-4)
    assert found.pairs.margin.value == pytest.approx(
        found.pairs.chosen_reward.value - found.pairs.rejected_reward.value
    )
    assert found.pairs.accuracy.value == pytest.approx((expected > 0).double().mean().item())
    assert found.pairs.calibration.log_loss.value == pytest.approx(
        nn.functional.softplus(-expected).mean().item(), abs=1e-4
    )


def test_a_policy_equal_to_its_reference_is_right_half_of_the_time() -> None:
    policy = tiny_llama().eval()
    found = preferences_of(policy, policy, token_groups(5)).pairs
    assert found is not None
    assert (found.accuracy.value, found.margin.value) == (0.5, 0.0)
    assert found.calibration.expected_error.value == 0.0
    assert found.calibration.log_loss.value == pytest.approx(0.6931, abs=1e-4)


def test_beta_scales_margins_and_turns_no_preference() -> None:
    policy, reference, groups = tiny_llama().eval(), tiny_llama().eval(), token_groups(6)
    one, ten = (preferences_of(policy, reference, groups, beta).pairs for beta in (0.1, 1.0))
    assert one is not None
    assert ten is not None
    assert ten.margin.value == pytest.approx(10 * one.margin.value)
    assert ten.accuracy == one.accuracy


def test_without_a_reference_log_probs_are_all_there_is() -> None:
    policy, groups = tiny_llama().eval(), token_groups(6)
    logps = policy_logps(policy, groups, Runner(FORWARD))
    found = evaluate_preferences(groups, logps, None, bootstrap=BOOTSTRAP)
    assert (found.reward, found.pairs, found.lists) == (None, None, None)
    assert found.reference_free.accuracy_by_sum is not None
    with pytest.raises(ValueError, match="needs a reference"):
        evaluate_preferences(groups, logps, ImplicitReward("logratio", 0.1))


def test_a_reward_that_needs_no_reference_does_without() -> None:
    policy, groups = tiny_llama().eval(), token_groups(6)
    found = evaluate_preferences(
        groups, policy_logps(policy, groups, Runner(FORWARD)), ImplicitReward("mean_logp", 2.0)
    )
    assert found.pairs is not None
    assert found.reference_free.accuracy_by_mean is not None
    assert found.pairs.accuracy.value == found.reference_free.accuracy_by_mean.value


def test_groups_without_pairs_have_log_probs_only() -> None:
    policy = tiny_llama().eval()
    found = preferences_of(policy, policy, token_groups(3, completions=1))
    assert found.pairs is None
    assert found.reference_free.accuracy_by_sum is None
    assert found.reference_free.num_completions == 3


def test_groups_of_the_same_prompt_are_one_prompt() -> None:
    policy, reference = tiny_llama().eval(), tiny_llama().eval()
    groups = token_groups(4)
    same = [replace(group, prompt=groups[0].prompt) for group in groups[:2]] + groups[2:]
    found = preferences_of(policy, reference, same).pairs
    assert found is not None
    assert (found.num_pairs, found.accuracy.num_prompts) == (4, 3)


def test_no_groups_and_a_beta_of_0_are_refused() -> None:
    policy = tiny_llama()
    with pytest.raises(ValueError, match="groups: is empty"):
        evaluate_preferences([], policy_logps(policy, token_groups(1), Runner(FORWARD)), None)
    with pytest.raises(ValueError, match="beta = 0"):
        ImplicitReward("logratio", 0)


def scored(*scores: float, seed: int = 0) -> TokenGroup:
    return replace(token_groups(1, completions=len(scores), seed=seed)[0], scores=scores, pairs=())


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=12))
def test_tau_is_that_of_scipy(rows: list[tuple[int, int]]) -> None:
    scores, rewards = (np.array(column, dtype=np.float64) for column in zip(*rows, strict=True))
    theirs = kendalltau(scores, rewards).statistic
    assert kendall_tau(scores, rewards) == pytest.approx(0.0 if np.isnan(theirs) else theirs)


def test_the_best_is_right_if_nothing_scores_higher() -> None:
    scores = np.array([1.0, 5.0, 5.0])
    assert best_of_list(scores, np.array([0.0, 0.1, 0.9])) == 1.0
    assert best_of_list(scores, np.array([1.0, 0.1, 0.9])) == 0.0
    assert best_of_list(scores, np.zeros(3)) == pytest.approx(2 / 3)


def test_lists_are_counted_by_prompt_and_short_or_tied_ones_left_out() -> None:
    groups = [scored(1, 2, 3), scored(3, 2, 1, seed=1), scored(1, 2, seed=2), scored(1, 1, 1, seed=3)]
    rewards = torch.tensor([0.1, 0.2, 0.3] * 2 + [0.0, 1.0] + [0.1, 0.2, 0.3])
    found = list_agreement(groups, rewards, BOOTSTRAP)
    assert found is not None
    assert found.num_lists == 2
    assert found.kendall_tau.value == 0.0
    assert found.best_of_list.value == 0.5
    assert found.best_by_chance == pytest.approx(1 / 3)


def test_without_scores_there_are_no_lists() -> None:
    groups = token_groups(3, completions=4)
    assert list_agreement(groups, torch.zeros(12), BOOTSTRAP) is None


def test_sums_prefer_short_completions_and_means_do_not() -> None:
    groups = token_groups(2)
    # Chosen: -8 over 8 tokens and -3 over 2; rejected: -4 over 2 tokens and -2 over 1.
    logps = PolicyLogps(torch.tensor([-8.0, -4.0, -3.0, -2.0]), torch.tensor([8, 2, 2, 1]))
    found = score_reference_free(groups, logps, BOOTSTRAP)
    assert found.num_completions == 4
    assert found.accuracy_by_sum is not None
    assert found.accuracy_by_mean is not None
    assert found.chosen_per_token is not None
    assert found.rejected_per_token is not None
    assert (found.accuracy_by_sum.value, found.accuracy_by_mean.value) == (0.0, 1.0)
    assert found.logp.value == pytest.approx(-17 / 4)
    assert found.logp_per_token.value == pytest.approx(-17 / 13)
    assert found.chosen_per_token.value == pytest.approx(-11 / 10)
    assert found.rejected_per_token.value == pytest.approx(-6 / 3)


def test_completions_without_pairs_have_log_probs_only() -> None:
    logps = PolicyLogps(torch.tensor([-8.0, -4.0]), torch.tensor([4, 4]))
    found = score_reference_free(token_groups(2, completions=1), logps, BOOTSTRAP)
    assert found.logp_per_token.value == -1.5
    assert (found.chosen_per_token, found.accuracy_by_sum, found.accuracy_by_mean) == (None, None, None)
