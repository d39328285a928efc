"""Weights of rows in the loss: the weighted mean over the whole step, for every method."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from preftune.data.tokens.token_group import TokenGroup
from preftune.losses import LOSSES, Method
from preftune.model.forward.packed import PackedForward
from tests.training.test_objective import groups_with_all_feedback, one_step, two_models, values_of

WEIGHTS = (0.3, 2.0, 1.0, 0.7, 5.0, 1e-3)
LOOKS_ACROSS = {name for name, loss in LOSSES.items() if loss.across_rows or loss.needs("mismatched")}
"""Methods with a statistic of the step, in which a row counts once whatever its weight."""


def weighted_groups(name: str, weights: Sequence[float], *, of_completions: bool = False) -> list[TokenGroup]:
    feedback = LOSSES[name].feedback
    groups = groups_with_all_feedback(len(weights), completions=3 if feedback == "lists" else 2)
    if not of_completions or feedback == "lists":
        return [replace(group, weight=weight) for group, weight in zip(groups, weights, strict=True)]
    own = [(weight, 1.5) for weight in weights]
    return [replace(group, completion_weights=both) for group, both in zip(groups, own, strict=True)]


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor], rounding: float) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        atol = rounding * value.abs().max().item() + 1e-15
        torch.testing.assert_close(found[name], value, rtol=rounding, atol=atol)


CASES = [*((name, False) for name in LOSSES), *((name, True) for name in ("dpo", "kto", "sft", "preferred_ft", "bco"))]


@pytest.mark.parametrize(("name", "of_completions"), CASES)
def test_the_loss_is_the_weighted_mean_however_a_step_is_cut_and_packed(
    name: str, of_completions: bool, tmp_path: Path
) -> None:
    groups = weighted_groups(name, WEIGHTS, of_completions=of_completions)
    models, method = two_models(), Method.named(name)
    whole, expected, _ = one_step(models, groups, method, tmp_path, max_tokens=10**6)
    cut, found, several = one_step(models, groups, method, tmp_path, max_tokens=150)
    packed, found_packed, _ = one_step(models, groups, method, tmp_path, max_tokens=150, forward=PackedForward())
    assert several > 1
    assert math.isclose(cut, whole, rel_tol=1e-10)
    assert_same(found, expected, 1e-10)
    assert math.isclose(packed, whole, rel_tol=1e-5)
    assert_same(found_packed, expected, 1e-5)


@pytest.mark.parametrize("name", sorted(LOSSES.keys() - LOOKS_ACROSS))
def test_a_row_of_weight_three_counts_as_three_rows(name: str, tmp_path: Path) -> None:
    models, method, weights = two_models(), Method.named(name), (3, 1, 2)
    groups = weighted_groups(name, weights)
    repeated = [replace(group, weight=1.0) for group in groups for _ in range(int(group.weight))]
    found, gradient, _ = one_step(models, groups, method, tmp_path, max_tokens=10**6)
    expected, expected_gradient, _ = one_step(models, repeated, method, tmp_path, max_tokens=10**6)
    assert math.isclose(found, expected, rel_tol=1e-12)
    assert_same(gradient, expected_gradient, 1e-5)  # norms of this model are computed in float32


@pytest.mark.parametrize("name", ["dpo", "kto", "sft", "preferred_ft", "plackett_luce", "aot", "bco"])
def test_the_loss_is_the_sum_of_weight_times_loss_over_the_sum_of_weights(name: str, tmp_path: Path) -> None:
    models, weights = two_models(), (0.3, 2.0, 0.7)
    groups = weighted_groups(name, weights, of_completions=True)
    values, method = values_of(name, groups, models)
    [part] = method.parts
    state = torch.zeros(2, dtype=torch.float64)
    mismatched = values_of(name, [group.mismatched_group or group for group in groups], models)[0].logps
    if part.loss.update is not None:
        state = part.updated(values.arguments(part, state=state))
    rows = part(*values.arguments(part, mismatched=mismatched, state=state).values())  # type: ignore[arg-type]
    own = {
        "pairs": [weight * 1.5 for weight in weights],
        "thumbs": [one for weight in weights for one in (weight, 1.5)],
        "demonstrations": [one for weight in weights for one in (weight, 1.5)],
        "lists": list(weights),
    }[part.loss.feedback]
    if name in ("sft", "preferred_ft"):
        lengths = [group.completion_lengths for group in groups]
        tokens = [length for both in lengths for length in both] if name == "sft" else [both[0] for both in lengths]
    else:
        tokens = [1] * len(own)
    expected = sum(w * loss for w, loss in zip(own, rows.tolist(), strict=True)) / np.dot(own, tokens)
    found, _, _ = one_step(models, groups, method, tmp_path, max_tokens=10**6)
    assert math.isclose(found, expected, rel_tol=1e-10)


def test_weights_of_one_give_the_same_bits_as_none(tmp_path: Path) -> None:
    models = two_models()
    for name in ("dpo", "kto", "sft", "preferred_ft", "plackett_luce", "aot"):
        groups = weighted_groups(name, [1.0] * 3)
        ones = [replace(group, completion_weights=(1.0,) * len(group.completions)) for group in groups]
        method = Method.named(name)
        plain, of_plain, _ = one_step(models, groups, method, tmp_path, max_tokens=10**6)
        weighted, of_weighted, _ = one_step(models, ones, method, tmp_path, max_tokens=10**6)
        assert plain == weighted
        assert all(torch.equal(of_weighted[parameter], value) for parameter, value in of_plain.items())
