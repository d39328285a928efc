"""What holds for the losses of thumbs beside their formulas."""

import re
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from preftune.losses import Method, apo_zero_unpaired, bco, kto, kto_weight_problem
from preftune.losses.thumbs import updated_bco
from tests.losses.case import Arguments, loss_of, referenced
from tests.losses.cases_thumbs import CASES, thumbs

ROWS, DESIRABLE = thumbs()["completions"], thumbs()["desirable"]
REWARDS = (0.3 * ROWS.logratio).detach()
ABOVE = referenced([-20.0, -31.0], [-23.0, -30.5])
BELOW = referenced([-23.0, -31.0], [-20.0, -30.5])
GOOD_AND_BAD: Arguments = {"completions": ROWS[torch.tensor([0, 2])], "desirable": torch.tensor([True, False])}
AS_A_PAIR: Arguments = {"chosen": ROWS[torch.tensor([0])], "rejected": ROWS[torch.tensor([2])]}


@pytest.mark.parametrize("name", CASES)
def test_learning_raises_good_completions_and_lowers_bad_ones(name: str) -> None:
    arguments = CASES[name].arguments(torch.float64)
    loss_of(name, arguments, CASES[name].options).sum().backward()
    assert arguments["completions"].policy.grad.sign().tolist() == [-1, 1, 1]


@pytest.mark.parametrize("name", ["kto", "apo_zero_unpaired", "bco"])
@pytest.mark.parametrize("kind", [True, False])
def test_steps_with_only_one_kind_work(name: str, kind: bool) -> None:
    arguments = {**CASES[name].arguments(torch.float64), "desirable": torch.tensor([kind] * 3)}
    loss = loss_of(name, arguments)
    loss.sum().backward()
    assert loss.isfinite().all()
    assert arguments["completions"].policy.grad.isfinite().all()


@pytest.mark.parametrize("name", CASES)
def test_a_row_costs_the_same_in_a_step_of_one_and_of_three(name: str) -> None:
    arguments = CASES[name].arguments(torch.float64)
    together = loss_of(name, arguments)
    for row in range(3):
        index = torch.tensor([row])
        alone = {**arguments, "completions": ROWS[index], "desirable": DESIRABLE[index]}
        torch.testing.assert_close(loss_of(name, alone), together[index])


def test_kto_is_the_weight_less_the_value() -> None:
    z0 = 0.3 * 1.25
    value = torch.where(DESIRABLE, 1.5 * (REWARDS - z0).sigmoid(), 0.8 * (z0 - REWARDS).sigmoid())
    weight = torch.tensor([1.5, 0.8, 0.8], dtype=torch.float64)
    loss = kto(ROWS, DESIRABLE, ABOVE, beta=0.3, desirable_weight=1.5, undesirable_weight=0.8)
    torch.testing.assert_close(loss, weight - value, rtol=1e-12, atol=0)


def test_the_reference_point_of_kto_is_never_below_zero() -> None:
    assert BELOW.logratio.mean() < 0
    torch.testing.assert_close(kto(ROWS, DESIRABLE, BELOW, beta=0.3), apo_zero_unpaired(ROWS, DESIRABLE, beta=0.3))


def test_the_reference_point_of_kto_is_a_mean_over_however_many_rows() -> None:
    one = referenced([-20.0], [-21.25])
    four = referenced([-20.0, -31.0, -20.0, -31.0], [-23.0, -30.5, -23.0, -30.5])
    expected = kto(ROWS, DESIRABLE, ABOVE, beta=0.3)
    for mismatched in (one, four):
        torch.testing.assert_close(kto(ROWS, DESIRABLE, mismatched, beta=0.3), expected)


def test_no_gradient_goes_through_the_reference_point_of_kto() -> None:
    mismatched = referenced([-20.0, -31.0], [-23.0, -30.5])
    kto(ROWS, DESIRABLE, mismatched, beta=0.3).sum().backward()
    assert mismatched.policy.grad is None


def test_a_loss_of_kto_far_above_the_reference_point_does_not_round_to_zero() -> None:
    loss = kto(referenced([400.0], [0.0]), torch.tensor([True]), BELOW, beta=0.1)
    torch.testing.assert_close(loss, torch.tensor([-40.0], dtype=torch.float64).exp())


@pytest.mark.parametrize("name", ["desirable_weight", "undesirable_weight"])
@pytest.mark.parametrize("method", ["kto", "apo_zero_unpaired"])
def test_a_weight_that_is_not_above_zero_is_refused(method: str, name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name} = 0\.0: must be above 0"):
        Method.named(method, {name: 0.0})


def test_bco_without_a_shift_is_binary_cross_entropy() -> None:
    expected = binary_cross_entropy_with_logits(REWARDS, DESIRABLE.double(), reduction="none")
    torch.testing.assert_close(bco(ROWS, DESIRABLE, torch.zeros(2), beta=0.3), expected, rtol=1e-12, atol=0)


def test_the_shift_of_bco_lies_in_the_middle_between_the_means_of_the_kinds() -> None:
    state = updated_bco(torch.zeros(2, dtype=torch.float64), ROWS, DESIRABLE, beta=0.3)
    # rewards 0.54; -0.3, 0.3: the mean of all would be 0.18
    torch.testing.assert_close(state, torch.tensor([3 * 0.27, 3.0], dtype=torch.float64))


def test_the_shift_of_bco_is_the_mean_over_all_steps_so_far() -> None:
    first = updated_bco(torch.zeros(2, dtype=torch.float64), ROWS, DESIRABLE, beta=0.3)
    two = torch.tensor([0, 1])
    second = updated_bco(first, ROWS[two], DESIRABLE[two], beta=0.3)  # rewards 0.54; -0.3
    torch.testing.assert_close(second, torch.tensor([3 * 0.27 + 2 * 0.12, 5.0], dtype=torch.float64))


def test_a_decay_of_zero_keeps_only_the_shift_of_the_last_step() -> None:
    before = torch.tensor([70.0, 7.0], dtype=torch.float64)
    state = updated_bco(before, ROWS, DESIRABLE, beta=0.3, shift_decay=0.0)
    torch.testing.assert_close(state[0] / state[1], torch.tensor(0.27, dtype=torch.float64))


def test_a_step_without_one_of_the_kinds_leaves_the_shift_of_bco_as_it_is() -> None:
    before = torch.tensor([1.0, 2.0])
    assert torch.equal(updated_bco(before, ROWS, torch.tensor([True] * 3), beta=0.3), before)


def test_the_state_of_bco_carries_no_gradient_and_keeps_its_dtype() -> None:
    rows = replace(ROWS, policy=ROWS.policy.detach().bfloat16().requires_grad_())
    state = updated_bco(torch.zeros(2), rows, DESIRABLE, beta=0.3)
    assert state.dtype == torch.float32
    assert not state.requires_grad


def test_a_decay_outside_its_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shift_decay = 1\.1: must be in \[0, 1\]"):
        Method.named("bco", {"shift_decay": 1.1})


def test_bco_of_a_good_and_a_bad_completion_is_bco_of_the_pair() -> None:
    state: Arguments = {"state": torch.tensor([0.06, 4.0], dtype=torch.float64)}
    alone = loss_of("bco", {**GOOD_AND_BAD, **state}, {"beta": 0.3})
    pair = loss_of("bco_pair", {**AS_A_PAIR, **state}, {"beta": 0.3})
    torch.testing.assert_close(alone.sum(), pair.sum(), rtol=1e-12, atol=0)


def test_apo_zero_of_a_good_and_a_bad_completion_is_one_more_than_that_of_the_pair() -> None:
    alone = loss_of("apo_zero_unpaired", GOOD_AND_BAD, {"beta": 0.3})
    pair = loss_of("apo_zero", AS_A_PAIR, {"beta": 0.3})
    torch.testing.assert_close(alone.sum(), 1 + pair.sum(), rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("numbers", "weights"),
    [((100, 100), (1.0, 1.0)), ((150, 100), (1.0, 1.0)), ((10, 100), (10.0, 1.0)), ((100, 10), (1.0, 7.0))],
)
def test_weights_that_make_the_kinds_count_1_to_1_5_are_as_recommended(
    numbers: tuple[int, int], weights: tuple[float, float]
) -> None:
    assert kto_weight_problem(*numbers, *weights) is None


def test_a_data_set_of_one_kind_has_no_weights_to_recommend() -> None:
    assert kto_weight_problem(100, 0, 1.0, 1.0) is None
    assert kto_weight_problem(0, 100, 1.0, 1.0) is None


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ((50, 500), r"0\.1 times .* Set desirable_weight to 10 to 15, or undesirable_weight to 0\.0667 to 0\.1\."),
        ((500, 50), r"10 times .* Set desirable_weight to 0\.1 to 0\.15, or undesirable_weight to 6\.67 to 10\."),
    ],
)
def test_weights_out_of_range_are_reported_with_their_ranges(numbers: tuple[int, int], text: str) -> None:
    problem = kto_weight_problem(*numbers, 1.0, 1.0)
    assert problem is not None
    assert re.search(text, problem), problem
