"""Runs that nothing is wrong with, on which no rule may fire."""

import pytest

from preftune.losses import LOSSES
from tests.training.conftest import Start
from tests.training.health.world import friendly_pairs

CAREFUL = {"dpop": 5e-5, "apo_down": 1e-4, "discopop": 1e-4, "unlikelihood": 1e-4}
"""Learning rates of methods that do not stand the usual one here: a penalty of 50 per nat, or falling answers."""


@pytest.mark.parametrize("seed", [*range(4), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(4, 10))])
def test_ten_seeds_are_silent(seed: int, start: Start) -> None:
    rows = friendly_pairs(160, 100 + seed), friendly_pairs(64, 200 + seed)
    result = start(*rows, seed=seed, eval_samples=8, reference_cache=False)
    assert result.held_out["rewards/accuracies"].last > 0.6
    assert result.health == ()


@pytest.mark.slow
@pytest.mark.parametrize("name", LOSSES)
def test_every_method_is_silent(name: str, start: Start) -> None:
    result = start(friendly_pairs(160, 1), friendly_pairs(64, 2), method=name, learning_rate=CAREFUL.get(name, 1e-3))
    assert result.health == ()


@pytest.mark.parametrize("method", ["sft", "kto", "plackett_luce", "simpo", "dpo + 0.2*preferred_ft"])
def test_other_feedback_and_sums_are_silent(method: str, start: Start) -> None:
    result = start(friendly_pairs(160, 1), friendly_pairs(64, 2), method=method, learning_rate=1e-3)
    assert result.health == ()


def test_a_short_run_is_silent(start: Start) -> None:
    assert start(friendly_pairs(12, 1), friendly_pairs(4, 2), learning_rate=1e-6).health == ()
