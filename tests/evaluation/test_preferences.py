from dataclasses import replace

import pytest
import torch

from preftune.evaluation import preference_accuracy
from preftune.groups import Pair
from preftune.policy.sequences import SequencesForward
from preftune.reference import FrozenCopy
from tests.builders import tiny_llama, token_groups
from tests.policy.tiny_models import one_by_one_logps

FORWARD = SequencesForward()


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
    found = preference_accuracy(policy, FrozenCopy(reference), groups, FORWARD, 0.1, max_tokens=40)
    assert found.margin.num_samples == found.accuracy.num_samples == 9
    assert found.margin.mean == pytest.approx(expected.mean().item(), abs=1e-4)
    assert found.margin.standard_error == pytest.approx((expected.std() / 3).item(), abs=1e-4)
    assert found.accuracy.mean == pytest.approx((expected > 0).double().mean().item())


def test_a_policy_equal_to_its_reference_is_right_half_of_the_time() -> None:
    policy = tiny_llama().eval()
    found = preference_accuracy(policy, FrozenCopy(policy), token_groups(5), FORWARD, beta=0.1)
    assert (found.accuracy.mean, found.margin.mean) == (0.5, 0.0)


def test_groups_without_pairs_and_a_beta_of_0_are_refused() -> None:
    policy = tiny_llama()
    with pytest.raises(ValueError, match="hold no pairs"):
        preference_accuracy(policy, FrozenCopy(policy), token_groups(2, completions=1), FORWARD, beta=0.1)
    with pytest.raises(ValueError, match="beta = 0"):
        preference_accuracy(policy, FrozenCopy(policy), token_groups(2), FORWARD, beta=0)
