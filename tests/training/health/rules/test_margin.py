from preftune.runs.result import RunResult
from preftune.training.health.rules.margin import margin
from preftune.training.health.table import RULES
from tests.training.health.histories import facts, found, history_of


def test_it_fires_on_a_thousand_times_the_learning_rate(exploded: RunResult) -> None:
    assert found(exploded, "margin") is not None


def test_a_mean_margin_of_ten_is_plenty() -> None:
    assert margin(history_of([{"rewards/margins": 9.9}]), facts()) is None
    symptom = margin(history_of([{"rewards/margins": 20.0}]), facts())
    assert symptom is not None
    assert symptom.size == 2.0


def test_rewards_without_a_reference_have_no_zero() -> None:
    assert RULES["margin"].applies(facts("kto"))
    assert not RULES["margin"].applies(facts("slic"))
