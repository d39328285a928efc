import pytest
import torch
from torch import Tensor

from preftune.errors import ConfigError
from preftune.losses import (
    REWARD_LOSSES,
    Method,
    ReferencedLogps,
    bradley_terry,
    bradley_terry_margin,
    dpo,
    plackett_luce,
    plackett_luce_rewards,
)

CHOSEN = torch.tensor([1.5, -0.3, 2.0, 0.1], dtype=torch.float64)
REJECTED = torch.tensor([0.5, 0.4, -2.0, 0.1], dtype=torch.float64)


def test_equal_rewards_cost_ln_2() -> None:
    assert bradley_terry(CHOSEN[3:], REJECTED[3:]).item() == pytest.approx(0.6931471805599453)


def test_a_constant_added_to_all_rewards_changes_nothing_without_centering() -> None:
    torch.testing.assert_close(bradley_terry(CHOSEN + 7, REJECTED + 7), bradley_terry(CHOSEN, REJECTED))
    assert (
        bradley_terry(CHOSEN + 7, REJECTED + 7, centering=0.1) > bradley_terry(CHOSEN, REJECTED, centering=0.1)
    ).all()


def test_centering_pulls_the_mean_reward_to_zero() -> None:
    chosen = (CHOSEN + 7).requires_grad_()
    rejected = (REJECTED + 7).requires_grad_()
    (bradley_terry(chosen, rejected, centering=0.1) - bradley_terry(chosen, rejected)).sum().backward()
    assert chosen.grad is not None
    assert bool((chosen.grad > 0).all())
    torch.testing.assert_close(chosen.grad, 0.2 * (chosen + rejected).detach())


def test_the_gradient_raises_the_chosen_reward_and_lowers_the_rejected_one() -> None:
    chosen, rejected = CHOSEN.clone().requires_grad_(), REJECTED.clone().requires_grad_()
    bradley_terry(chosen, rejected).sum().backward()
    assert chosen.grad is not None
    assert bool((chosen.grad < 0).all())
    torch.testing.assert_close(rejected.grad, -chosen.grad)
    torch.testing.assert_close(chosen.grad, -torch.sigmoid(REJECTED - CHOSEN))


def test_it_is_dpo_with_rewards_in_place_of_implicit_rewards() -> None:
    def logps(rewards: Tensor) -> ReferencedLogps:
        return ReferencedLogps(rewards, torch.zeros(4).double(), torch.ones(4))

    for smoothing in (0.0, 0.2):
        expected = dpo(logps(CHOSEN), logps(REJECTED), beta=1.0, label_smoothing=smoothing)
        torch.testing.assert_close(bradley_terry(CHOSEN, REJECTED, label_smoothing=smoothing), expected)


def test_a_margin_of_zero_is_no_margin() -> None:
    found = bradley_terry_margin(CHOSEN, REJECTED, torch.zeros(4).double(), centering=0.1)
    torch.testing.assert_close(found, bradley_terry(CHOSEN, REJECTED, centering=0.1))
    assert (bradley_terry_margin(CHOSEN, REJECTED, torch.ones(4).double()) > bradley_terry(CHOSEN, REJECTED)).all()


def test_a_list_of_two_is_a_pair() -> None:
    rewards, scores = torch.stack([CHOSEN, REJECTED], 1).flatten(), torch.tensor([1.0, 0.0]).repeat(4)
    prompts = torch.arange(4).repeat_interleave(2)
    found = plackett_luce_rewards(rewards, scores, prompts, centering=0.1)
    torch.testing.assert_close(found, bradley_terry(CHOSEN, REJECTED, centering=0.1))


def test_lists_are_those_of_plackett_luce_on_implicit_rewards() -> None:
    rewards, scores = torch.randn(7, dtype=torch.float64), torch.tensor([3.0, 1.0, 2.0, 2.0, 5.0, 0.0, 4.0])
    prompts = torch.tensor([0, 0, 0, 0, 1, 1, 1])
    logps = ReferencedLogps(2 * rewards, torch.zeros(7).double(), torch.ones(7))
    torch.testing.assert_close(
        plackett_luce_rewards(rewards, scores, prompts), plackett_luce(logps, scores, prompts, beta=0.5)
    )


@pytest.mark.parametrize("name", REWARD_LOSSES)
def test_options_out_of_range_are_named(name: str) -> None:
    with pytest.raises(ConfigError, match=r"centering = -1.*must be at least 0"):
        Method.named(name, {"centering": -1.0})


def test_label_smoothing_is_below_a_half() -> None:
    with pytest.raises(ConfigError, match="label_smoothing"):
        Method.named("bradley_terry", {"label_smoothing": 0.5})


@pytest.mark.parametrize("name", REWARD_LOSSES)
def test_methods_of_rewards_need_a_reward_model_and_no_reference(name: str) -> None:
    method = Method.named(name)
    assert method.needs("rewards")
    assert not method.needs_reference


def test_a_sum_with_a_loss_of_log_probs_is_refused() -> None:
    with pytest.raises(ConfigError, match="reward model"):
        Method.named("bradley_terry + dpo")
