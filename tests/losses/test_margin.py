""""""

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import kl_div

from preftune.losses import ReferencedLogps, discopop, dpo, dpop, exo_pair, odpo
from tests.losses.case import chosen_and_rejected, referenced, referenced_pairs


def pairs_of_margin(margins: list[float]) -> tuple[ReferencedLogps, ReferencedLogps]:
    """At beta = 1."""
    zeros = [0.0] * len(margins)
    return referenced(margins, zeros), referenced(zeros, zeros)


def slopes(loss: Tensor, chosen: ReferencedLogps) -> Tensor:
    """Derivative of each pair's loss by its margin, at beta = 1."""
    return torch.autograd.grad(loss.sum(), chosen.policy)[0]


def test_exo_and_dpo_are_the_two_directions_of_one_kl() -> None:
    # of the labels (1 - epsilon, epsilon) and the policy's preferences (sigmoid(margin), sigmoid(-margin))
    epsilon = 0.1
    chosen, rejected = referenced_pairs().values()
    margin = 0.3 * (chosen.logratio - rejected.logratio)
    policy = torch.stack([margin, -margin], 1).sigmoid().log()
    labels = torch.tensor([1 - epsilon, epsilon], dtype=torch.float64).log().expand_as(policy)
    reverse = kl_div(labels, policy, log_target=True, reduction="none").sum(1)
    forward = kl_div(policy, labels, log_target=True, reduction="none").sum(1)
    entropy = -(1 - epsilon) * math.log(1 - epsilon) - epsilon * math.log(epsilon)
    torch.testing.assert_close(exo_pair(chosen, rejected, beta=0.3, label_smoothing=epsilon), reverse)
    torch.testing.assert_close(dpo(chosen, rejected, beta=0.3, label_smoothing=epsilon), forward + entropy)


def test_exo_is_least_where_the_policy_has_the_labels_probability() -> None:
    best = math.log(0.999 / 0.001)
    chosen, rejected = pairs_of_margin([best - 1, best, best + 1])
    loss = exo_pair(chosen, rejected, beta=1.0)
    below, at, above = slopes(loss, chosen)
    assert abs(loss[1]) < 1e-12
    assert abs(at) < 1e-12
    assert below < 0 < above


def test_exo_learns_little_from_pairs_that_are_far_wrong_and_dpo_much() -> None:
    chosen, rejected = pairs_of_margin([-20.0])
    assert abs(slopes(exo_pair(chosen, rejected, beta=1.0), chosen)) < 1e-6
    assert slopes(dpo(chosen, rejected, beta=1.0), chosen) < -0.999


@pytest.mark.parametrize("label_smoothing", [0.0, 0.5, -0.1, float("nan")])
def test_exo_refuses_labels_without_doubt_or_without_content(label_smoothing: float) -> None:
    with pytest.raises(ValueError, match=r"label_smoothing = .*: must be in \(0, 0\.5\)"):
        exo_pair(*pairs_of_margin([0.0]), beta=1.0, label_smoothing=label_smoothing)


def test_discopop_is_logistic_far_below_zero_and_exponential_far_above() -> None:
    chosen, rejected = pairs_of_margin([-3.0, 3.0])
    below, above = discopop(chosen, rejected, beta=1.0)
    torch.testing.assert_close(below, dpo(chosen, rejected, beta=1.0)[0])
    torch.testing.assert_close(above, torch.tensor(math.exp(-3.0), dtype=torch.float64))


def test_discopop_at_the_start_of_a_run_lowers_margins_as_its_paper_shows() -> None:
    # slope at 0: -log(2) / (4 tau) - 1/4 + 1 / (4 tau) - 1/2
    chosen, rejected = pairs_of_margin([0.0])
    slope = slopes(discopop(chosen, rejected, beta=1.0, tau=0.05), chosen)
    torch.testing.assert_close(slope, torch.tensor([5 * (1 - math.log(2)) - 0.75], dtype=torch.float64))
    assert slope > 0


def test_discopop_stays_finite_if_its_exponential_overflows() -> None:
    chosen, rejected = referenced([-200.0], [0.0], torch.float32), referenced([0.0], [0.0], torch.float32)
    margin = torch.tensor([-200.0])
    by_factors = (margin / 0.05).sigmoid() * torch.exp(-margin)
    assert by_factors.isnan()
    torch.testing.assert_close(discopop(chosen, rejected, beta=1.0), torch.tensor([200.0]))


@pytest.mark.parametrize("tau", [0.0, -0.1, 1.5, float("nan")])
def test_discopop_refuses_a_tau_that_does_not_bound_the_exponential(tau: float) -> None:
    with pytest.raises(ValueError, match=r"tau = .*: must be in \(0, 1\]"):
        discopop(*pairs_of_margin([0.0]), beta=1.0, tau=tau)


def margins(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_odpo_of_answers_with_equal_scores_is_dpo() -> None:
    pairs = chosen_and_rejected()
    linear = odpo(*pairs, margins(0.0, 0.0, 0.0), beta=0.3, offset="linear")
    torch.testing.assert_close(linear, dpo(*pairs, beta=0.3))


def test_odpo_without_weight_is_dpo_and_with_log_a_difference_of_1_is() -> None:
    pairs = chosen_and_rejected()
    torch.testing.assert_close(odpo(*pairs, margins(0.1, 2.0, 9.0), beta=0.3, alpha=0.0), dpo(*pairs, beta=0.3))
    torch.testing.assert_close(odpo(*pairs, margins(1.0, 1.0, 1.0), beta=0.3), dpo(*pairs, beta=0.3))


def test_odpo_linear_asks_for_the_margin_itself() -> None:
    chosen, rejected = referenced([30.0], [0.0]), referenced([0.0], [0.0])
    loss = odpo(chosen, rejected, margins(4.0), beta=0.1, alpha=0.5, offset="linear")
    assert loss.item() == pytest.approx(math.log1p(math.exp(-(3.0 - 2.0))))


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_odpo_names_the_margin_that_has_no_logarithm_and_what_to_do(bad: float) -> None:
    with pytest.raises(ValueError, match=rf"a pair has a margin of {bad:g}: offset = log .* or set offset = linear"):
        odpo(*chosen_and_rejected(), margins(1.0, bad, 2.0), beta=0.1)


def test_odpo_keeps_the_dtype_of_the_log_probs_for_any_dtype_of_margins() -> None:
    pairs = chosen_and_rejected(torch.bfloat16)
    assert odpo(*pairs, torch.tensor([1.0, 2.0, 3.0]), beta=0.1).dtype == torch.bfloat16


def test_odpo_refuses_options_out_of_their_range() -> None:
    pairs = chosen_and_rejected()
    with pytest.raises(ValueError, match=r"alpha = -1\.0: must be at least 0"):
        odpo(*pairs, margins(1.0, 1.0, 1.0), beta=0.1, alpha=-1.0)
    with pytest.raises(ValueError, match="offset = sqrt: must be log or linear"):
        odpo(*pairs, margins(1.0, 1.0, 1.0), beta=0.1, offset="sqrt")  # type: ignore[arg-type]


def test_dpop_without_a_penalty_is_dpo() -> None:
    pairs = chosen_and_rejected()
    torch.testing.assert_close(dpop(*pairs, beta=0.3, penalty=0.0), dpo(*pairs, beta=0.3))


def test_dpop_is_dpo_where_chosen_answers_have_become_likelier() -> None:
    chosen, rejected = referenced([-3.0], [-4.0]), referenced([-3.0], [-2.0])
    torch.testing.assert_close(dpop(chosen, rejected, beta=0.3, penalty=50.0), dpo(chosen, rejected, beta=0.3))


def test_dpop_penalty_is_inside_the_sigmoid_and_inside_beta() -> None:
    chosen, rejected = referenced([-6.0], [-4.0]), referenced([-9.0], [-2.0])
    loss = dpop(chosen, rejected, beta=0.3, penalty=5.0)
    assert loss.item() == pytest.approx(math.log1p(math.exp(-0.3 * (-2.0 + 7.0 - 5.0 * 2.0))))


def test_dpop_does_not_let_both_answers_fall_where_dpo_does() -> None:
    """Both have lost 2 nats in 10, the rejected one more: lowering both by the same helps neither loss, but costs."""
    for loss_function, sign in ((dpo, 0.0), (lambda *rows, beta: dpop(*rows, beta=beta, penalty=5.0), -1.0)):
        chosen, rejected = referenced([-12.0], [-10.0]), referenced([-14.0], [-10.0])
        loss_function(chosen, rejected, beta=0.3).backward()
        assert chosen.policy.grad is not None
        assert rejected.policy.grad is not None
        assert (chosen.policy.grad + rejected.policy.grad).sign().item() == sign


def test_dpop_refuses_a_penalty_below_0() -> None:
    with pytest.raises(ValueError, match=r"penalty = -1\.0: must be at least 0"):
        dpop(*chosen_and_rejected(), beta=0.1, penalty=-1.0)
