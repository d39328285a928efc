""""""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from preftune.losses import LOSSES, Method, ReferencedLogps, aot, aot_unpaired, beta_dpo, dpo
from preftune.losses.whole_step import average_gap
from tests.losses.case import chosen_and_rejected, referenced, referenced_pairs
from tests.losses.cases_classification import crossed_pairs

ORDER = torch.tensor([2, 0, 1])


def test_aot_of_one_pair_is_dpo() -> None:
    for index in range(3):
        chosen, rejected = (rows[torch.tensor([index])] for rows in crossed_pairs().values())
        expected = dpo(chosen, rejected, beta=0.3, label_smoothing=0.1)
        torch.testing.assert_close(aot(chosen, rejected, beta=0.3, label_smoothing=0.1), expected)
        torch.testing.assert_close(aot_unpaired(chosen, rejected, beta=0.3, label_smoothing=0.1), expected)


def test_aot_is_dpo_where_policy_and_reference_rank_the_pairs_alike() -> None:
    chosen, rejected = referenced_pairs().values()
    torch.testing.assert_close(aot(chosen, rejected, beta=0.3), dpo(chosen, rejected, beta=0.3))


def test_aot_differs_from_dpo_on_crossed_pairs() -> None:
    chosen, rejected = crossed_pairs().values()
    assert not torch.allclose(aot(chosen, rejected, beta=0.3).mean(), dpo(chosen, rejected, beta=0.3).mean())


def test_the_loss_of_a_pair_moves_with_the_pair() -> None:
    chosen, rejected = crossed_pairs().values()
    for loss in (aot, aot_unpaired):
        torch.testing.assert_close(
            loss(chosen[ORDER], rejected[ORDER], beta=0.3), loss(chosen, rejected, beta=0.3)[ORDER]
        )


def test_unpaired_aot_does_not_care_which_rejected_answer_is_in_which_row() -> None:
    chosen, rejected = crossed_pairs().values()
    torch.testing.assert_close(
        aot_unpaired(chosen, rejected[ORDER], beta=0.3), aot_unpaired(chosen, rejected, beta=0.3)
    )


def test_paired_aot_does_care() -> None:
    chosen, rejected = crossed_pairs().values()
    mixed, straight = aot(chosen, rejected[torch.tensor([1, 0, 2])], beta=0.3), aot(chosen, rejected, beta=0.3)
    assert not torch.allclose(mixed.mean(), straight.mean())


def test_paired_aot_does_not_care_which_margin_of_the_reference_belongs_to_which_pair() -> None:
    chosen, rejected = crossed_pairs().values()
    elsewhere = [ReferencedLogps(rows.policy, rows.reference[ORDER], rows.num_tokens) for rows in (chosen, rejected)]
    torch.testing.assert_close(aot(*elsewhere, beta=0.3), aot(chosen, rejected, beta=0.3))


def test_the_matching_by_rank_is_the_one_with_the_least_mean_loss() -> None:
    # Optimal transport in one dimension with a convex cost.
    chosen, rejected = crossed_pairs().values()
    best = aot_unpaired(chosen, rejected, beta=0.3).mean()
    every = torch.cartesian_prod(*[torch.arange(3)] * 3)
    orders = [order for order in every if len(set(order.tolist())) == 3]
    means = [dpo(chosen, rejected[order], beta=0.3).mean() for order in orders]
    torch.testing.assert_close(torch.stack(means).min(), best)
    assert max(means) > best + 1e-3


def test_rows_that_tie_give_one_loss_in_any_order() -> None:
    zeros = torch.zeros(3, dtype=torch.float64)
    rows = ReferencedLogps(zeros, zeros, torch.ones(3, dtype=torch.long))
    chosen = ReferencedLogps(torch.tensor([1.0, 1.0, 2.0], dtype=torch.float64), zeros, rows.num_tokens)
    for loss in (aot, aot_unpaired):
        torch.testing.assert_close(
            loss(chosen[ORDER], rows, beta=0.3).sum(), loss(chosen, rows, beta=0.3).sum(), rtol=1e-12, atol=0
        )


OPTIONS: dict[str, Any] = {"beta": 0.1, "alpha": 0.3, "kept": 1.0, "momentum": 0.9}


def state(usual: float, num_steps: float = 10.0) -> Tensor:
    return torch.tensor([usual, num_steps], dtype=torch.float64)


def losses(usual: float, **options: Any) -> Tensor:
    return beta_dpo(*chosen_and_rejected(), state(usual), **{**OPTIONS, **options})


def test_a_beta_that_does_not_change_is_dpo_for_any_state() -> None:
    for usual in (-3.0, 0.0, 7.0):
        torch.testing.assert_close(losses(usual, alpha=0.0), dpo(*chosen_and_rejected(), beta=0.1))


def test_a_usual_step_is_learned_with_beta() -> None:
    torch.testing.assert_close(losses((3.1 - 1.5 - 4.5) / 3), dpo(*chosen_and_rejected(), beta=0.1))


def test_a_step_further_apart_than_usual_is_learned_with_a_higher_beta() -> None:
    mean = (3.1 - 1.5 - 4.5) / 3
    torch.testing.assert_close(losses(mean - 2), dpo(*chosen_and_rejected(), beta=0.1 * (1 + 0.3 * 2)))
    torch.testing.assert_close(losses(mean + 2), dpo(*chosen_and_rejected(), beta=0.1 * (1 - 0.3 * 2)))


def test_beta_stays_above_0() -> None:
    torch.testing.assert_close(losses(1e6), dpo(*chosen_and_rejected(), beta=1e-3))


def test_the_pairs_furthest_from_the_usual_gap_are_left_out_and_the_mean_is_that_of_the_others() -> None:
    # Of 3 pairs 0.7 are 2: 3.1 and -1.5 lie nearer to 1 than -4.5. beta' = 0.1 * (1 + 0.3 * (0.8 - 1))
    found = losses(1.0, kept=0.7)
    kept = [math.log1p(math.exp(-0.094 * gap)) for gap in (3.1, -1.5)]
    torch.testing.assert_close(found, torch.tensor([1.5 * kept[0], 1.5 * kept[1], 0.0], dtype=torch.float64))
    assert found.mean().item() == pytest.approx(sum(kept) / 2)


def test_pairs_that_are_left_out_have_no_gradient() -> None:
    chosen, rejected = chosen_and_rejected()
    beta_dpo(chosen, rejected, state(1.0), **{**OPTIONS, "kept": 0.7}).sum().backward()
    for rows, sign in ((chosen, -1.0), (rejected, 1.0)):
        assert rows.policy.grad is not None
        assert rows.policy.grad.sign().tolist() == [sign, sign, 0.0]


def test_a_step_of_one_pair_keeps_it() -> None:
    pair = referenced([1.0], [0.0]), referenced([0.0], [0.0])
    assert beta_dpo(*pair, state(0.0), **{**OPTIONS, "kept": 0.1}).item() > 0


def test_beta_carries_no_gradient() -> None:
    """Else the policy could lower its loss by moving the mean of the gaps."""
    chosen, rejected = chosen_and_rejected()
    usual = (3.1 - 1.5 - 4.5) / 3
    beta_dpo(chosen, rejected, state(usual), **OPTIONS).sum().backward()
    moved = chosen.policy.grad
    chosen, rejected = chosen_and_rejected()
    dpo(chosen, rejected, beta=0.1).sum().backward()
    torch.testing.assert_close(moved, chosen.policy.grad)


def test_the_usual_gap_starts_at_that_of_the_first_step_and_then_moves_on_slowly() -> None:
    first = average_gap(torch.zeros(2, dtype=torch.float64), *chosen_and_rejected(), **OPTIONS)
    torch.testing.assert_close(first, state((3.1 - 1.5 - 4.5) / 3, 1.0))
    step = referenced([5.0], [0.0]), referenced([0.0], [0.0])
    second = average_gap(first, *step, **OPTIONS)
    torch.testing.assert_close(second, state(0.9 * first[0].item() + 0.1 * 5.0, 2.0))
    assert not second.requires_grad


def test_the_table_joins_the_loss_with_its_update() -> None:
    (part,) = Method.named("beta_dpo", {"momentum": 0.5}).parts
    pairs = chosen_and_rejected()
    after = part.updated({"chosen": pairs[0], "rejected": pairs[1], "state": state(1.0, 3.0)})
    torch.testing.assert_close(after, state(0.5 * 1.0 + 0.5 * -2.9 / 3, 4.0))
    assert LOSSES["beta_dpo"].across_rows
    assert part(*pairs, after).shape == (3,)


@pytest.mark.parametrize("seed", range(6))
def test_neither_rounding_nor_order_decides_which_pairs_are_kept_at_the_start(seed: int) -> None:
    """Policy and reference were computed in rows of other tokens, so that their gaps are not exactly 0."""
    generator = torch.Generator().manual_seed(seed)
    reference = -torch.arange(20.0, 40.0, dtype=torch.float64)
    order = torch.randperm(20, generator=generator)

    def kept(reference: torch.Tensor, noise: float) -> torch.Tensor:
        policy = reference + noise * torch.randn(20, generator=generator, dtype=torch.float64)
        chosen = ReferencedLogps(policy, reference, torch.full((20,), 8))
        rejected = ReferencedLogps(reference, reference, torch.full((20,), 8))
        return beta_dpo(chosen, rejected, state(0.0), **{**OPTIONS, "kept": 0.6}) > 0

    expected = kept(reference, 0.0)
    assert expected.sum() == 12
    for noise in (1e-15, 1e-7, 1e-5):
        assert torch.equal(kept(reference, noise), expected)
        assert torch.equal(kept(reference[order], noise), expected[order])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"alpha": -0.1}, r"alpha = -0\.1: must be at least 0"),
        ({"kept": 0.0}, r"kept = 0\.0: must be in \(0, 1\]"),
        ({"kept": 1.1}, r"kept = 1\.1: must be in \(0, 1\]"),
        ({"momentum": 1.0}, r"momentum = 1\.0: must be in \[0, 1\)"),
        ({"beta": 0.0}, r"beta = 0\.0: must be above 0"),
    ],
)
def test_options_out_of_their_range_are_refused(options: dict[str, float], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        losses(0.0, **options)
