import pytest
import torch

from preftune.evaluation.reference_free import score_reference_free
from preftune.losses import PolicyLogps
from preftune.metrics.intervals import Bootstrap
from tests.builders import token_groups

BOOTSTRAP = Bootstrap(num_resamples=50)


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
