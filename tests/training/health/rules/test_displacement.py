import pytest

from preftune.losses import LOSSES, Method
from preftune.runs.result import RunResult
from preftune.training.health.rules.displacement import displacement, raises_chosen
from preftune.training.health.table import RULES
from tests.training.health.histories import facts, found, history_of

LONG = {"logratios/absolute": 50.0, "logratios/per_token": 0.5}
"""Answers of 100 tokens."""


def rewards(chosen: float, margin: float) -> dict[str, float]:
    return {**LONG, "rewards/chosen": chosen, "rewards/margins": margin}


def test_it_fires_on_answers_that_hardly_differ(hardly_different: RunResult) -> None:
    finding = found(hardly_different, "displacement")
    assert finding is not None
    assert finding.severity == "suspect"
    assert "dpop" in finding.advice


def test_a_fall_counts_by_token_and_by_margin() -> None:
    run = facts()  # beta 0.1: a reward of -2.5 is 25 nats, a quarter of a nat for each of 100 tokens
    assert displacement(history_of([rewards(-2.4, 3.0)]), run) is None
    assert displacement(history_of([rewards(-2.6, 6.0)]), run) is None
    assert displacement(history_of([rewards(-2.6, 5.0)]), run) is not None


def test_rewards_per_token_count_as_they_are() -> None:
    run = facts("dpo_length_normalized")  # beta 5
    assert displacement(history_of([rewards(-1.2, 1.0)]), run) is None
    assert displacement(history_of([rewards(-1.3, 1.0)]), run) is not None


@pytest.mark.parametrize("name", LOSSES)
def test_methods_that_lower_chosen_answers_on_purpose_are_left_alone(name: str) -> None:
    method = Method.named(name)
    assert raises_chosen(method) == (name not in ("apo_down", "discopop"))


def test_methods_without_a_reference_are_left_alone() -> None:
    assert not RULES["displacement"].applies(facts("simpo"))
    assert not RULES["displacement"].applies(facts(starts_at_reference=False))
