from dataclasses import replace

import pytest
import torch
from torch import nn

from preftune.data.tokens.token_group import TokenGroup
from preftune.evaluation.preferences import Preferences, evaluate_preferences
from preftune.groups import Pair
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
