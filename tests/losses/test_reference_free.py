"""Properties that the papers state beside their formulas: SFT, unlikelihood, ORPO, SimPO, CPO and SLiC."""

import math
from collections.abc import Callable, Mapping
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from preftune.losses import (
    Method,
    PolicyLogps,
    ReferencedLogps,
    cpo,
    dpo,
    orpo,
    preferred_ft,
    sft,
    simpo,
    slic,
    unlikelihood,
)
from tests.losses.case import policy_only, policy_pairs, referenced_pairs


def gradient(loss: Tensor, rows: PolicyLogps) -> Tensor:
    return torch.autograd.grad(loss.sum(), rows.policy, retain_graph=True)[0]


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


def test_orpo_of_equal_means_is_sft_and_lambda_times_log_2() -> None:
    chosen, rejected = policy_only([-6.0], [3]), policy_only([-8.0], [4])
    expected = torch.tensor([2.0 + 0.25 * math.log(2)], dtype=torch.float64)
    torch.testing.assert_close(orpo(chosen, rejected, lambda_or=0.25), expected)


def test_the_gradient_of_orpo_is_that_of_the_paper() -> None:
    # Eq. 8 to 10: a penalty 1 / (1 + odds chosen / odds rejected), times 1 / (1 - P) for each of the two.
    chosen, rejected = policy_pairs().values()
    p_chosen, p_rejected = chosen.mean_logp.exp(), rejected.mean_logp.exp()
    odds_ratio = (p_chosen / (1 - p_chosen)) / (p_rejected / (1 - p_rejected))
    penalty = 0.25 / (1 + odds_ratio)
    loss = orpo(chosen, rejected, lambda_or=0.25)
    torch.testing.assert_close(
        gradient(loss, chosen) * chosen.num_tokens, -1 - penalty / (1 - p_chosen), rtol=1e-10, atol=0
    )
    torch.testing.assert_close(
        gradient(loss, rejected) * rejected.num_tokens, penalty / (1 - p_rejected), rtol=1e-10, atol=0
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_orpo_is_finite_for_answers_that_are_certain_where_the_formula_is_not(dtype: torch.dtype) -> None:
    certain, likely = policy_only([0.0, 0.0], [3, 3], dtype), policy_only([-1.0, 0.0], [4, 4], dtype)
    for chosen, rejected in ((certain, likely), (likely, certain)):
        means = chosen.mean_logp, rejected.mean_logp
        as_shipped = means[0] - means[1] - (torch.log1p(-means[0].exp()) - torch.log1p(-means[1].exp()))
        assert not as_shipped.isfinite().any()
        loss = orpo(chosen, rejected, lambda_or=0.1)
        assert loss.isfinite().all()
        assert gradient(loss, chosen).isfinite().all()
        assert gradient(loss, rejected).isfinite().all()


def test_orpo_keeps_its_precision_for_answers_that_are_nearly_certain() -> None:
    # 1 - exp(-1e-5) = 1e-5 to five digits; in float32 1 - exp(x) alone has two
    chosen, rejected = policy_only([-1e-5], [1], torch.float32), policy_only([-1.0], [1], torch.float32)
    log_odds = -1e-5 - math.log(-math.expm1(-1e-5)) - (-1.0 - math.log(-math.expm1(-1.0)))
    expected = torch.tensor([1e-5 + math.log1p(math.exp(-log_odds))])
    torch.testing.assert_close(orpo(chosen, rejected, lambda_or=1.0), expected, rtol=1e-5, atol=0)


def test_simpo_without_a_target_is_the_preference_of_cpo_per_token_where_lengths_are_equal() -> None:
    chosen, rejected = policy_only([-12.3, -3.0], [8, 8]), policy_only([-8.5, -7.0], [8, 8])
    preference = cpo(chosen, rejected, beta=2.0 / 8) + chosen.mean_logp
    torch.testing.assert_close(simpo(chosen, rejected, beta=2.0, gamma=0.0), preference)


def test_simpo_can_turn_the_order_of_answers_of_unequal_lengths() -> None:
    chosen, rejected = policy_only([-12.0], [12]), policy_only([-8.0], [4])
    assert simpo(chosen, rejected, beta=2.0, gamma=0.0) < math.log(2)
    assert cpo(chosen, rejected, beta=2.0) + chosen.mean_logp > math.log(2)


def test_simpo_is_at_log_2_where_the_margin_is_its_target() -> None:
    chosen, rejected = policy_only([-4.0], [8]), policy_only([-4.0], [4])
    torch.testing.assert_close(
        simpo(chosen, rejected, beta=2.0, gamma=1.0), torch.tensor([math.log(2)], dtype=torch.float64)
    )


def test_the_preference_of_cpo_is_dpo_with_a_uniform_reference() -> None:
    chosen, rejected = policy_pairs().values()
    uniform = [
        ReferencedLogps(rows.policy, torch.full_like(rows.policy, -50.0), rows.num_tokens)
        for rows in (chosen, rejected)
    ]
    preference = cpo(chosen, rejected, beta=0.3) + chosen.mean_logp
    torch.testing.assert_close(preference, dpo(*uniform, beta=0.3))


def test_cpo_imitates_by_the_mean_per_token_or_by_the_sum() -> None:
    chosen, rejected = policy_pairs().values()
    preference = -logsigmoid(0.3 * (chosen.policy - rejected.policy))
    torch.testing.assert_close(cpo(chosen, rejected, beta=0.3), preference - chosen.policy / chosen.num_tokens)
    torch.testing.assert_close(cpo(chosen, rejected, beta=0.3, length_normalized=False), preference - chosen.policy)


@pytest.mark.parametrize("weight", [0.0, 0.5, 2.0])
def test_the_weight_of_sft_in_orpo_and_cpo_is_as_set(weight: float) -> None:
    chosen, rejected = policy_pairs().values()
    for loss in (partial(orpo, lambda_or=0.25), partial(cpo, beta=0.3)):
        preference = loss(chosen, rejected) + chosen.mean_logp
        found = loss(chosen, rejected, sft_weight=weight)
        torch.testing.assert_close(found, preference - weight * chosen.mean_logp)


def test_slic_of_a_well_ordered_pair_is_only_sft() -> None:
    chosen, rejected = policy_only([-3.0], [4]), policy_only([-7.0], [5])
    loss = slic(chosen, rejected, delta=4.0, lambda_reg=0.2)
    torch.testing.assert_close(loss, -0.2 * chosen.policy)
    assert gradient(loss, rejected).tolist() == [0.0]
    torch.testing.assert_close(slic(chosen, rejected, delta=4.5, lambda_reg=0.2), loss + 0.5)


@pytest.mark.parametrize(
    ("loss", "options", "text"),
    [
        (orpo, {"lambda_or": 0.0}, r"lambda_or = 0\.0: must be above 0.*preferred_ft"),
        (orpo, {"lambda_or": float("nan")}, "lambda_or = nan: must be above 0"),
        (simpo, {"beta": 0.0, "gamma": 1.0}, r"beta = 0\.0: must be above 0"),
        (simpo, {"beta": 2.0, "gamma": -1.0}, r"gamma = -1\.0: must be at least 0"),
        (cpo, {"beta": -0.1}, r"beta = -0\.1: must be above 0"),
        (cpo, {"beta": 0.1, "sft_weight": -1.0}, r"sft_weight = -1\.0: must be at least 0"),
        (orpo, {"lambda_or": 0.1, "sft_weight": -1.0}, r"sft_weight = -1\.0: must be at least 0"),
        (
            cpo,
            {"beta": 0.1, "sft_weight": 0.0, "length_normalized": False},
            "length_normalized = False: does nothing without sft_weight above 0",
        ),
        (slic, {"delta": 0.0, "lambda_reg": 0.1}, r"delta = 0\.0: must be above 0"),
        (slic, {"delta": 1.0, "lambda_reg": -0.1}, r"lambda_reg = -0\.1: must be at least 0"),
    ],
)
def test_options_out_of_range_are_refused(loss: Callable[..., Tensor], options: Mapping[str, float], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        loss(*policy_pairs().values(), **options)
