"""Rules of `rules/rewards.py`, each on logs written by hand and on a run made sick."""

import pytest

from preftune.losses import LOSSES, Method
from preftune.runs.result import RunResult
from preftune.training.health.rule import Symptom
from preftune.training.health.rules.rewards import displacement, length, margin, raises_chosen
from preftune.training.health.table import RULES
from tests.training.health.histories import facts, found, history_of


def test_margin_fires_on_a_thousand_times_the_learning_rate(exploded: RunResult) -> None:
    assert found(exploded, "margin") is not None


def test_a_mean_margin_of_ten_is_plenty() -> None:
    assert margin(history_of([{"rewards/margins": 9.9}]), facts()) is None
    symptom = margin(history_of([{"rewards/margins": 20.0}]), facts())
    assert isinstance(symptom, Symptom)
    assert symptom.size == 2.0


def test_rewards_without_a_reference_have_no_zero() -> None:
    assert RULES["margin"].applies(facts("kto"))
    assert not RULES["margin"].applies(facts("slic"))


LONG = {"logratios/absolute": 50.0, "logratios/per_token": 0.5}
"""Answers of 100 tokens."""


def rewards(chosen: float, margin: float) -> dict[str, float]:
    return {**LONG, "rewards/chosen": chosen, "rewards/margins": margin}


def test_displacement_fires_on_answers_that_hardly_differ(hardly_different: RunResult) -> None:
    finding = found(hardly_different, "displacement")
    assert finding is not None
    assert finding.severity == "suspect"
    assert "dpop" in finding.advice


def test_a_fall_counts_by_token_and_by_margin() -> None:
    run = facts()  # beta 0.1: a reward of -2.5 is 25 nats, a quarter of a nat for each of 100 tokens
    assert displacement(history_of([rewards(-2.4, 3.0)]), run) is None
    assert displacement(history_of([rewards(-2.6, 6.0)]), run) is None
    assert isinstance(displacement(history_of([rewards(-2.6, 5.0)]), run), Symptom)


def test_rewards_per_token_count_as_they_are() -> None:
    run = facts("dpo_length_normalized")  # beta 5
    assert displacement(history_of([rewards(-1.2, 1.0)]), run) is None
    assert isinstance(displacement(history_of([rewards(-1.3, 1.0)]), run), Symptom)


@pytest.mark.parametrize("name", LOSSES)
def test_methods_that_lower_chosen_answers_on_purpose_have_no_finding(name: str) -> None:
    method = Method.named(name)
    assert raises_chosen(method) == (name not in ("apo_down", "discopop"))


def test_methods_without_a_reference_have_no_finding() -> None:
    assert not RULES["displacement"].applies(facts("simpo"))
    assert not RULES["displacement"].applies(facts(starts_at_reference=False))


def correlation_of(correlation: float, margin: float = 1.0) -> dict[str, float]:
    return {"rewards/length_correlation": correlation, "rewards/margins": margin}


def test_length_fires_where_the_longer_answer_is_chosen(length_only: RunResult) -> None:
    finding = found(length_only, "length")
    assert finding is not None
    assert "the longer answer has the higher reward" in finding.text


def test_half_is_too_much_either_way() -> None:
    run = facts(num_held_out=0)
    assert length(history_of([correlation_of(0.49)]), run) is None
    assert isinstance(length(history_of([correlation_of(0.51)]), run), Symptom)
    symptom = length(history_of([correlation_of(-0.75)]), run)
    assert isinstance(symptom, Symptom)
    assert "shorter" in symptom.text


def test_margins_that_are_noise_say_nothing() -> None:
    assert length(history_of([correlation_of(0.9, margin=0.05)]), facts(num_held_out=0)) is None


def test_held_out_pairs_are_used_if_there_are_enough() -> None:
    history = history_of([correlation_of(0.9)], {1: correlation_of(0.1)})
    assert length(history, facts(num_held_out=64)) is None
    assert isinstance(length(history, facts(num_held_out=63)), Symptom)


def test_rewards_that_follow_length_from_the_start_have_no_finding() -> None:
    assert RULES["length"].applies(facts("plackett_luce"))
    assert not RULES["length"].applies(facts("cpo"))
    assert not RULES["length"].applies(facts("kto"))
    assert not RULES["length"].applies(facts(num_train=12, num_held_out=2))
