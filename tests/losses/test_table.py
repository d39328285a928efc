"""Every loss from one table: a hand value, the laws that hold for it, and mutants that must be caught."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from preftune.losses import LOSSES, Method, PolicyLogps, ReferencedLogps, dpo, sft

Pairs = tuple[ReferencedLogps, ReferencedLogps]
Rows = tuple[ReferencedLogps | PolicyLogps, ...]


def referenced(policy: list[float], reference: list[float], dtype: torch.dtype = torch.float64) -> ReferencedLogps:
    return ReferencedLogps(
        torch.tensor(policy, dtype=dtype, requires_grad=True),
        torch.tensor(reference, dtype=dtype),
        torch.full((len(policy),), 10),
    )


def pair_rows(dtype: torch.dtype = torch.float64) -> Pairs:
    return (
        referenced([-12.3, -3.0, -40.0], [-14.1, -2.0, -41.0], dtype),
        referenced([-8.5, -7.0, -38.5], [-7.2, -7.5, -44.0], dtype),
    )


def completion_rows(dtype: torch.dtype = torch.float64) -> Rows:
    logps = torch.tensor([-6.0, -1.5], dtype=dtype, requires_grad=True)
    return (PolicyLogps(logps, torch.tensor([3, 1])),)


@dataclass(frozen=True)
class Case:
    """One row of the test table.

    at_start: loss per row where policy equals reference; None where there is no reference.
    chosen_sign, rejected_sign: sign of the gradient for the log-prob of each argument.
    """

    rows: Callable[[torch.dtype], Rows]
    options: dict[str, float]
    by_hand: list[float]
    at_start: float | None
    gradient_signs: tuple[int, ...]


def log_sigmoid(x: float) -> float:
    return -math.log1p(math.exp(-x))


CASES = {
    "dpo": Case(
        pair_rows,
        {"beta": 0.1},
        # margins: 0.1 * (1.8 + 1.3), 0.1 * (-1.0 - 0.5), 0.1 * (1.0 - 5.5)
        [-log_sigmoid(0.31), -log_sigmoid(-0.15), -log_sigmoid(-0.45)],
        at_start=math.log(2),
        gradient_signs=(-1, 1),
    ),
    "sft": Case(completion_rows, {}, [6.0, 1.5], at_start=None, gradient_signs=(-1,)),
}


def loss_of(name: str, rows: Rows) -> Tensor:
    return Method.named(name, CASES[name].options)(*rows)


def test_every_loss_of_the_table_has_a_case() -> None:
    assert CASES.keys() == LOSSES.keys()


@pytest.mark.parametrize("name", CASES)
def test_the_loss_has_the_value_computed_by_hand(name: str) -> None:
    case = CASES[name]
    expected = torch.tensor(case.by_hand, dtype=torch.float64)
    torch.testing.assert_close(loss_of(name, case.rows(torch.float64)), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", CASES)
def test_the_loss_is_one_value_per_row_in_the_order_of_the_rows(name: str) -> None:
    rows = CASES[name].rows(torch.float64)
    backwards = torch.arange(len(rows[0].policy) - 1, -1, -1)
    straight, turned = loss_of(name, rows), Method.named(name, CASES[name].options)(*(row[backwards] for row in rows))
    assert straight.shape == rows[0].policy.shape
    torch.testing.assert_close(turned, straight[backwards], rtol=0, atol=0)


@pytest.mark.parametrize("name", CASES)
def test_the_gradient_has_the_right_sign(name: str) -> None:
    rows = CASES[name].rows(torch.float64)
    loss_of(name, rows).sum().backward()
    for row, sign in zip(rows, CASES[name].gradient_signs, strict=True):
        assert row.policy.grad is not None
        assert (row.policy.grad.sign() == sign).all()


@pytest.mark.parametrize(("name", "value"), [(name, case.at_start) for name, case in CASES.items() if case.at_start])
def test_the_loss_at_policy_equal_reference_is_its_known_value(name: str, value: float) -> None:
    same = referenced([-3.0, -9.0], [-3.0, -9.0])
    expected = torch.full((2,), value, dtype=torch.float64)
    torch.testing.assert_close(Method.named(name)(same, same), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_the_loss_keeps_the_dtype(name: str, dtype: torch.dtype) -> None:
    assert loss_of(name, CASES[name].rows(dtype)).dtype == dtype


@pytest.mark.parametrize("name", [name for name in CASES if LOSSES[name].needs_reference])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("logratio", [1e4, -1e4])
def test_huge_logratios_give_finite_losses_and_gradients(name: str, dtype: torch.dtype, logratio: float) -> None:
    chosen, rejected = referenced([logratio], [0.0], dtype), referenced([0.0], [0.0], dtype)
    loss = Method.named(name)(chosen, rejected)
    loss.sum().backward()
    assert chosen.policy.grad is not None
    assert loss.isfinite().all()
    assert chosen.policy.grad.isfinite().all()


@pytest.mark.parametrize("name", CASES)
def test_the_hand_value_catches_a_flipped_sign_a_wrong_scale_and_an_ignored_reference(name: str) -> None:
    case = CASES[name]
    loss = loss_of(name, case.rows(torch.float64))
    flipped = tuple(_flipped(row) for row in case.rows(torch.float64))
    scaled = tuple(_scaled(row) for row in case.rows(torch.float64))
    mutants = [Method.named(name, case.options)(*rows) for rows in (flipped, scaled)]
    if LOSSES[name].needs_reference:
        blind = tuple(_without_reference(row) for row in case.rows(torch.float64))
        mutants.append(Method.named(name, case.options)(*blind))
    for mutant in mutants:
        assert not torch.allclose(mutant, loss, rtol=1e-6)


def _flipped(row: ReferencedLogps | PolicyLogps) -> ReferencedLogps | PolicyLogps:
    if isinstance(row, ReferencedLogps):
        return ReferencedLogps(-row.policy, -row.reference, row.num_tokens)
    return PolicyLogps(-row.policy, row.num_tokens)


def _scaled(row: ReferencedLogps | PolicyLogps) -> ReferencedLogps | PolicyLogps:
    if isinstance(row, ReferencedLogps):
        return ReferencedLogps(2 * row.policy, 2 * row.reference, row.num_tokens)
    return PolicyLogps(2 * row.policy, row.num_tokens)


def _without_reference(row: ReferencedLogps | PolicyLogps) -> ReferencedLogps:
    assert isinstance(row, ReferencedLogps)
    return ReferencedLogps(row.policy, torch.zeros_like(row.reference), row.num_tokens)


def test_the_worked_example_of_dpo() -> None:
    chosen, rejected = referenced([-12.3], [-14.1]), referenced([-8.5], [-7.2])
    margin = 0.1 * (chosen.logratio - rejected.logratio)
    assert round(margin.sigmoid().item(), 4) == 0.5769
    assert round(dpo(chosen, rejected, beta=0.1).item(), 4) == 0.5501


def test_dpo_and_its_swap_differ_by_the_margin() -> None:
    # -log sigmoid(m) + log sigmoid(-m) = -m
    chosen, rejected = pair_rows()
    margin = 0.3 * (chosen.logratio - rejected.logratio)
    difference = dpo(chosen, rejected, beta=0.3) - dpo(rejected, chosen, beta=0.3)
    torch.testing.assert_close(difference, -margin)


def test_dpo_does_not_see_a_constant_added_to_both_logratios() -> None:
    chosen, rejected = pair_rows()
    moved = [ReferencedLogps(row.policy + 5, row.reference, row.num_tokens) for row in (chosen, rejected)]
    torch.testing.assert_close(dpo(*moved, beta=0.3), dpo(chosen, rejected, beta=0.3))


def test_label_smoothing_mixes_the_loss_with_that_of_the_swapped_pair() -> None:
    chosen, rejected = pair_rows()
    mixed = 0.8 * dpo(chosen, rejected, beta=0.3) + 0.2 * dpo(rejected, chosen, beta=0.3)
    torch.testing.assert_close(dpo(chosen, rejected, beta=0.3, label_smoothing=0.2), mixed)
    assert not torch.allclose(mixed, dpo(chosen, rejected, beta=0.3))


def test_sft_is_the_mean_cross_entropy_of_torch_when_divided_by_tokens() -> None:
    logits, targets = torch.randn(4, 7, dtype=torch.float64), torch.tensor([0, 3, 6, 2])
    token_logps = logits.log_softmax(-1).gather(1, targets[:, None])[:, 0]
    logps = PolicyLogps(torch.stack([token_logps[:3].sum(), token_logps[3]]), torch.tensor([3, 1]))
    expected = torch.nn.functional.cross_entropy(logits, targets)
    torch.testing.assert_close(sft(logps).sum() / 4, expected, rtol=1e-12, atol=0)
