""""""

import math
from dataclasses import replace
from typing import get_args

import pytest
import torch
from torch import Tensor

from preftune.losses import dpo, hinge, ipo, robust_dpo
from preftune.losses.pairwise import Divergence
from tests.losses.case import chosen_and_rejected, referenced, referenced_pairs


def test_the_worked_example_of_dpo() -> None:
    chosen, rejected = referenced([-12.3], [-14.1]), referenced([-8.5], [-7.2])
    margin = 0.1 * (chosen.logratio - rejected.logratio)
    assert round(margin.sigmoid().item(), 4) == 0.5769
    assert round(dpo(chosen, rejected, beta=0.1).item(), 4) == 0.5501


def test_dpo_and_its_swap_differ_by_the_margin() -> None:
    # -log sigmoid(m) + log sigmoid(-m) = -m
    chosen, rejected = referenced_pairs().values()
    margin = 0.3 * (chosen.logratio - rejected.logratio)
    difference = dpo(chosen, rejected, beta=0.3) - dpo(rejected, chosen, beta=0.3)
    torch.testing.assert_close(difference, -margin)


def test_dpo_does_not_see_a_constant_added_to_one_prompt() -> None:
    chosen, rejected = referenced_pairs().values()
    by_prompt = torch.tensor([1.0, -2.0, 3.0])
    moved = [replace(rows, policy=rows.policy + by_prompt) for rows in (chosen, rejected)]
    torch.testing.assert_close(dpo(*moved, beta=0.3), dpo(chosen, rejected, beta=0.3))


def test_label_smoothing_mixes_the_loss_with_that_of_the_swapped_pair() -> None:
    chosen, rejected = referenced_pairs().values()
    mixed = 0.8 * dpo(chosen, rejected, beta=0.3) + 0.2 * dpo(rejected, chosen, beta=0.3)
    torch.testing.assert_close(dpo(chosen, rejected, beta=0.3, label_smoothing=0.2), mixed)
    assert not torch.allclose(mixed, dpo(chosen, rejected, beta=0.3))


def test_robust_dpo_without_flips_is_dpo() -> None:
    chosen, rejected = chosen_and_rejected()
    torch.testing.assert_close(
        robust_dpo(chosen, rejected, beta=0.3, label_smoothing=0.0), dpo(chosen, rejected, beta=0.3)
    )


def test_robust_dpo_is_unbiased_under_flipped_labels() -> None:
    """At the given flip rate, the mean over flips is the DPO loss of the true labels."""
    chosen, rejected = chosen_and_rejected()
    kept, flipped = (
        robust_dpo(*pair, beta=0.3, label_smoothing=0.2) for pair in ((chosen, rejected), (rejected, chosen))
    )
    torch.testing.assert_close(0.8 * kept + 0.2 * flipped, dpo(chosen, rejected, beta=0.3))


def test_robust_dpo_never_turns_against_a_label_where_smoothed_dpo_does() -> None:
    # cDPO is least at sigmoid(margin) = 0.8, a margin of log 4; beyond it pulls the pair together again.
    signs = []
    for loss in (robust_dpo, dpo):
        chosen, rejected = referenced([30.0], [0.0]), referenced([0.0], [0.0])
        loss(chosen, rejected, beta=0.1, label_smoothing=0.2).backward()
        assert chosen.policy.grad is not None
        signs.append(chosen.policy.grad.sign().item())
    assert signs == [-1, 1]


def test_ipo_starts_at_the_square_of_its_target() -> None:
    """Where policy equals reference: (1 / (2 * tau))^2, with a gradient of -1 / tau, for any length of answers."""
    for length_normalized in (False, True):
        chosen, rejected = (replace(rows, policy=rows.reference.clone()) for rows in chosen_and_rejected())
        chosen.policy.requires_grad_()
        losses = ipo(chosen, rejected, tau=0.25, length_normalized=length_normalized)
        torch.testing.assert_close(losses, torch.full_like(losses, 4.0))
        losses.sum().backward()
        expected = -4.0 / (chosen.num_tokens.double() if length_normalized else torch.ones(3).double())
        torch.testing.assert_close(chosen.policy.grad, expected)


def test_ipo_is_least_at_its_target_and_costs_beyond_it() -> None:
    rejected = referenced([0.0], [0.0])
    at, beyond = (ipo(referenced([logratio], [0.0]), rejected, tau=0.1) for logratio in (5.0, 8.0))
    assert at.item() == 0
    assert beyond.item() == pytest.approx(9.0)


def test_ipo_per_token_divides_each_answer_by_its_own_length() -> None:
    chosen, rejected = chosen_and_rejected()
    expected = [(1.8 / 12 + 1.3 / 8 - 5) ** 2, (-1 / 4 - 0.5 / 5 - 5) ** 2, (1 / 30 - 5.5 / 25 - 5) ** 2]
    found = ipo(chosen, rejected, tau=0.1, length_normalized=True)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


def test_ipo_per_token_is_ipo_for_answers_of_one_token() -> None:
    pairs = [replace(rows, num_tokens=torch.ones(3)) for rows in chosen_and_rejected()]
    torch.testing.assert_close(ipo(*pairs, tau=0.1, length_normalized=True), ipo(*pairs, tau=0.1))


def test_hinge_ignores_pairs_with_a_margin_of_1() -> None:
    chosen, rejected = referenced([9.9, 10.1], [0.0, 0.0]), referenced([0.0, 0.0], [0.0, 0.0])
    losses = hinge(chosen, rejected, beta=0.1)
    losses.sum().backward()
    torch.testing.assert_close(losses, torch.tensor([0.01, 0.0], dtype=torch.float64))
    assert chosen.policy.grad is not None
    assert chosen.policy.grad.tolist() == [-0.1, 0.0]


@pytest.mark.parametrize("value", [0.0, -0.1, math.nan])
def test_a_scale_that_is_not_above_0_is_refused(value: float) -> None:
    pairs = chosen_and_rejected()
    with pytest.raises(ValueError, match=r"tau = .*: must be above 0"):
        ipo(*pairs, tau=value)
    for loss in (hinge, dpo):
        with pytest.raises(ValueError, match=r"beta = .*: must be above 0"):
            loss(*pairs, beta=value)


def test_robust_dpo_refuses_labels_that_say_nothing() -> None:
    with pytest.raises(ValueError, match=r"label_smoothing = 0\.5: must be in \[0, 0\.5\)"):
        robust_dpo(*chosen_and_rejected(), beta=0.1, label_smoothing=0.5)


DIVERGENCES: tuple[Divergence, ...] = get_args(Divergence)


def log_sigmoid(margin: float) -> float:
    return -math.log1p(math.exp(-margin))


@pytest.mark.parametrize(
    ("divergence", "margin"),
    [
        # logratios: chosen log 4, rejected -log 9
        ("reverse_kl", math.log(4) + math.log(9)),
        ("forward_kl", -1 / 4 + 9),
        ("js", math.log(2 * 4 / 5) - math.log(2 / 9 / (10 / 9))),
        ("alpha", (1 - 1 / 2) / 0.5 - (1 - 3) / 0.5),  # 4^-0.5 = 1/2, (1/9)^-0.5 = 3
    ],
)
def test_the_margin_is_the_difference_of_the_derivatives_of_f(divergence: Divergence, margin: float) -> None:
    chosen, rejected = referenced([math.log(4)], [0.0]), referenced([-math.log(9)], [0.0])
    loss = dpo(chosen, rejected, beta=0.1, divergence=divergence)
    torch.testing.assert_close(loss.item(), -log_sigmoid(0.1 * margin), rtol=1e-12, atol=0)


@pytest.mark.parametrize(("alpha", "limit"), [(1e-7, "reverse_kl"), (1 - 1e-7, "forward_kl")])
def test_alpha_near_its_ends_is_the_kl_divergence_there(alpha: float, limit: Divergence) -> None:
    near = dpo(*chosen_and_rejected(), beta=0.3, divergence="alpha", alpha=alpha)
    torch.testing.assert_close(near, dpo(*chosen_and_rejected(), beta=0.3, divergence=limit), rtol=1e-5, atol=0)


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_a_policy_equal_to_its_reference_has_a_loss_of_log_2(divergence: Divergence) -> None:
    pairs = [replace(rows, policy=rows.reference) for rows in chosen_and_rejected()]
    losses = dpo(*pairs, beta=0.3, divergence=divergence)
    torch.testing.assert_close(losses, torch.full_like(losses, math.log(2)))


@pytest.mark.parametrize("divergence", DIVERGENCES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("far", [1e4, -1e4])
def test_huge_logratios_give_finite_losses_and_gradients(
    divergence: Divergence, dtype: torch.dtype, far: float
) -> None:
    for side in (0, 1):
        rows = [referenced([1.0], [0.0], dtype), referenced([-1.0], [0.0], dtype)]
        rows[side] = referenced([far], [0.0], dtype)
        loss = dpo(*rows, beta=0.1, divergence=divergence)
        loss.backward()
        assert loss.dtype == dtype
        assert loss.isfinite()
        assert all(row.policy.grad is not None and row.policy.grad.isfinite().all() for row in rows)


def gradient_of_chosen(logratio: float, divergence: Divergence) -> Tensor:
    chosen = referenced([logratio], [0.0], torch.float32)
    dpo(chosen, referenced([0.0], [0.0], torch.float32), beta=0.1, divergence=divergence).backward()
    assert chosen.policy.grad is not None
    return chosen.policy.grad


@pytest.mark.parametrize("divergence", ["forward_kl", "alpha"])
def test_a_chosen_answer_that_is_far_off_is_still_pulled_back(divergence: Divergence) -> None:
    """A bound on the exponent alone ends the gradient there, so that the worst pairs are never learned."""
    pulls = [-gradient_of_chosen(logratio, divergence).item() for logratio in (0.0, -10.0, -50.0, -1000.0)]
    assert pulls == sorted(pulls)
    assert 0 < pulls[0] < pulls[1] < pulls[2]


def test_an_alpha_outside_0_to_1_is_refused() -> None:
    for alpha in (0.0, 1.0, -0.5, 2.0, math.nan):
        with pytest.raises(ValueError, match=r"alpha = .*: must be in \(0, 1\)"):
            dpo(*chosen_and_rejected(), beta=0.1, divergence="alpha", alpha=alpha)


def test_an_alpha_that_would_do_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"alpha = 0\.3: does nothing without divergence = alpha\. Leave it out"):
        dpo(*chosen_and_rejected(), beta=0.1, alpha=0.3)


def test_an_unknown_divergence_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="divergence = chi2: must be reverse_kl or forward_kl or js or alpha"):
        dpo(*chosen_and_rejected(), beta=0.1, divergence="chi2")  # type: ignore[arg-type]
