"""What the papers say of NCA, BCO, SPPO and APO beside their formulas."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from preftune.losses import (
    LOSSES,
    Method,
    ReferencedLogps,
    apo_down,
    apo_zero,
    bco,
    bco_pair,
    dpo,
    nca,
    nca_pair,
    sppo_hard,
)
from preftune.losses.anchored import updated_bco_pair
from tests.losses.case import log_sigmoid, referenced, referenced_pairs

Pairs = tuple[ReferencedLogps, ReferencedLogps]
NO_SHIFT = torch.tensor([0.0, 2.0])


def pairs_of_rewards(chosen: list[float], rejected: list[float]) -> Pairs:
    """At beta = 1."""
    zeros = [0.0] * len(chosen)
    return referenced(chosen, zeros), referenced(rejected, zeros)


def slopes(loss: Tensor, pairs: Pairs) -> tuple[Tensor, ...]:
    """Derivative of each pair's loss by the rewards of chosen and rejected, at beta = 1."""
    return torch.autograd.grad(loss.sum(), [rows.policy for rows in pairs])


def test_nca_draws_the_reward_of_a_chosen_answer_to_log_2() -> None:
    pairs = pairs_of_rewards([math.log(2) - 0.1, math.log(2), math.log(2) + 0.1], [0.0] * 3)
    (below, at, above), rejected = slopes(nca_pair(*pairs, beta=1.0), pairs)
    assert below < 0 < above
    assert abs(at) < 1e-12
    assert (rejected > 0).all()


def test_nca_of_pairs_is_nca_of_lists_of_two_of_which_one_is_far_better() -> None:
    chosen, rejected = referenced_pairs().values()
    both = referenced([*chosen.policy.tolist(), *rejected.policy.tolist()], [*chosen.reference, *rejected.reference])
    scores = torch.tensor([100.0] * 3 + [0.0] * 3, dtype=torch.float64)
    lists = nca(both, scores, torch.arange(3).repeat(2), beta=0.3)
    torch.testing.assert_close(nca_pair(chosen, rejected, beta=0.3), lists)


def test_bco_without_a_shift_is_two_binary_classifications() -> None:
    chosen, rejected = referenced_pairs().values()
    loss = bco_pair(chosen, rejected, NO_SHIFT, beta=0.3)
    torch.testing.assert_close(loss, -logsigmoid(0.3 * chosen.logratio) - logsigmoid(-0.3 * rejected.logratio))


@pytest.mark.parametrize("shift", [-3.0, 0.0, 0.7])
def test_bco_is_above_dpo_for_any_shift(shift: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logratios = 5 * torch.randn(2, 100, generator=generator, dtype=torch.float64)
    chosen, rejected = (referenced(row.tolist(), [0.0] * 100) for row in logratios)
    state = torch.tensor([shift, 1.0], dtype=torch.float64)
    assert (bco_pair(chosen, rejected, state, beta=0.3) > dpo(chosen, rejected, beta=0.3)).all()


def test_bco_of_a_pair_is_the_sum_of_those_of_its_answers() -> None:
    chosen, rejected = referenced_pairs().values()
    state = torch.tensor([0.9, 6.0], dtype=torch.float64)
    up, down = torch.ones(3, dtype=torch.bool), torch.zeros(3, dtype=torch.bool)
    apart = bco(chosen, up, state, beta=0.3) + bco(rejected, down, state, beta=0.3)
    torch.testing.assert_close(bco_pair(chosen, rejected, state, beta=0.3), apart)


def test_the_shift_of_bco_is_the_mean_of_all_rewards_of_all_steps() -> None:
    chosen, rejected = referenced_pairs().values()
    steps = [torch.tensor([0, 2]), torch.tensor([1])]
    state = torch.zeros(2, dtype=torch.float64)
    for step in steps:
        state = updated_bco_pair(state, chosen[step], rejected[step], beta=0.1)
    # logratios: 1.8, -1.0, 1.0 and -1.3, 0.5, 5.5
    torch.testing.assert_close(state, torch.tensor([0.65, 6.0], dtype=torch.float64))
    assert not state.requires_grad


def test_a_shift_between_the_rewards_lowers_the_loss_of_bco() -> None:
    pairs = pairs_of_rewards([4.0], [2.0])
    state = updated_bco_pair(torch.zeros(2), *pairs, beta=1.0)
    assert bco_pair(*pairs, state, beta=1.0) < bco_pair(*pairs, NO_SHIFT, beta=1.0)


def test_the_table_keeps_the_state_of_bco_with_the_options_of_the_loss() -> None:
    assert LOSSES["bco_pair"].update is updated_bco_pair
    assert LOSSES["bco_pair"].across_rows


def test_bco_without_a_shift_is_bco_before_its_first_step_and_keeps_no_state() -> None:
    chosen, rejected = referenced_pairs().values()
    state = torch.tensor([0.9, 6.0], dtype=torch.float64)
    found = bco_pair(chosen, rejected, state, beta=0.1, shift=False)
    by_hand = [-log_sigmoid(x) - log_sigmoid(-y) for x, y in ((0.18, -0.13), (-0.1, 0.05), (0.1, 0.55))]
    torch.testing.assert_close(found, torch.tensor(by_hand, dtype=torch.float64))
    torch.testing.assert_close(found, bco_pair(chosen, rejected, NO_SHIFT, beta=0.1))
    assert updated_bco_pair(state, chosen, rejected, beta=0.1, shift=False) is state


def test_rows_of_bco_depend_on_each_other_only_by_its_shift() -> None:
    assert Method.named("dpo + bco_pair").across_rows
    assert not Method.named("dpo + bco_pair", {"shift": False}).across_rows


def test_sppo_is_least_at_rewards_of_a_half_and_comes_back_from_beyond() -> None:
    # 1 / (2 * 0.1) = 5
    pairs = pairs_of_rewards([4.0, 5.0, 6.0], [-4.0, -5.0, -6.0])
    loss = sppo_hard(*pairs, beta=0.1)
    chosen, rejected = slopes(loss, pairs)
    assert loss.tolist() == [2.0, 0.0, 2.0]
    assert chosen.sign().tolist() == [-1, 0, 1]
    assert rejected.sign().tolist() == [1, 0, -1]


def test_apo_zero_turns_its_sign_when_the_pair_is_swapped() -> None:
    chosen, rejected = referenced_pairs().values()
    torch.testing.assert_close(apo_zero(chosen, rejected, beta=0.3), -apo_zero(rejected, chosen, beta=0.3))


def test_apo_zero_raises_chosen_answers_and_apo_down_lowers_them() -> None:
    pairs = pairs_of_rewards([0.5], [-0.5])
    chosen, rejected = slopes(apo_zero(*pairs, beta=1.0), pairs)
    assert chosen < 0 < rejected
    chosen, rejected = slopes(apo_down(*pairs, beta=1.0), pairs)
    assert 0 < chosen < rejected


def test_apo_ignores_answers_far_from_the_reference() -> None:
    pairs = pairs_of_rewards([30.0], [-30.0])
    assert all(slope.abs() < 1e-9 for slope in slopes(apo_zero(*pairs, beta=1.0), pairs))


@pytest.mark.parametrize("loss", [nca_pair, sppo_hard, apo_zero, apo_down])
@pytest.mark.parametrize("beta", [0.0, -1.0, float("nan")])
def test_a_beta_that_is_not_above_zero_is_refused(loss: Callable[..., Tensor], beta: float) -> None:
    with pytest.raises(ValueError, match=r"beta = .*: must be above 0"):
        loss(*referenced_pairs().values(), beta=beta)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"beta": 0.0}, "must be"),
        ({"beta": 0.1, "shift_decay": 1.5}, "must be"),
        ({"beta": 0.1, "shift": False, "shift_decay": 0.5}, r"shift_decay = 0\.5: does nothing without shift = true"),
    ],
)
def test_bco_refuses_options_out_of_range(options: dict[str, Any], text: str) -> None:
    chosen, rejected = referenced_pairs().values()
    with pytest.raises(ValueError, match=text):
        bco_pair(chosen, rejected, NO_SHIFT, **options)
