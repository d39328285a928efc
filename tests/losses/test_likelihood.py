""""""

import pytest
import torch

from preftune.losses import Method, PolicyLogps, preferred_ft, sft, unlikelihood
from tests.losses.case import policy_only, policy_pairs, referenced_pairs


def test_sft_is_the_mean_cross_entropy_of_torch_when_divided_by_tokens() -> None:
    logits, targets = torch.randn(4, 7, dtype=torch.float64), torch.tensor([0, 3, 6, 2])
    token_logps = logits.log_softmax(-1).gather(1, targets[:, None])[:, 0]
    logps = PolicyLogps(torch.stack([token_logps[:3].sum(), token_logps[3]]), torch.tensor([3, 1]))
    expected = torch.nn.functional.cross_entropy(logits, targets)
    torch.testing.assert_close(sft(logps).sum() / 4, expected, rtol=1e-12, atol=0)


def test_preferred_ft_is_sft_on_the_chosen_answers() -> None:
    chosen = policy_pairs()["chosen"]
    torch.testing.assert_close(preferred_ft(chosen), sft(chosen))


def test_preferred_ft_takes_log_probs_with_a_reference_too_so_that_it_can_be_added_to_dpo() -> None:
    chosen = referenced_pairs()["chosen"]
    assert preferred_ft(chosen).tolist() == [12.3, 3.0, 40.0]
    parts = Method.named("dpo + 0.5*preferred_ft").parts
    assert [(part.name, part.loss.unit, part.weight) for part in parts] == [
        ("dpo", "pair", 1.0),
        ("preferred_ft", "token", 0.5),
    ]


def test_unlikelihood_that_ignores_the_rejected_answer_is_preferred_ft() -> None:
    chosen, rejected = policy_pairs().values()
    torch.testing.assert_close(unlikelihood(chosen, rejected, alpha=0.0), preferred_ft(chosen))


def test_unlikelihood_falls_without_end_as_the_rejected_answer_becomes_impossible() -> None:
    chosen, rejected = policy_only([-3.0] * 2, [4] * 2), policy_only([-1e4, -1e8], [5] * 2)
    assert unlikelihood(chosen, rejected).tolist() == [3 - 1e4, 3 - 1e8]


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_unlikelihood_refuses_a_weight_outside_0_to_1(alpha: float) -> None:
    with pytest.raises(ValueError, match=r"alpha = .*: must be in \[0, 1\]"):
        unlikelihood(*policy_pairs().values(), alpha=alpha)
