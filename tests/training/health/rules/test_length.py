from preftune.runs.result import RunResult
from preftune.training.health.rules.length import length
from preftune.training.health.table import RULES
from tests.training.health.histories import facts, found, history_of


def rewards(correlation: float, margin: float = 1.0) -> dict[str, float]:
    return {"rewards/length_correlation": correlation, "rewards/margins": margin}


def test_it_fires_where_the_longer_answer_is_chosen(length_only: RunResult) -> None:
    finding = found(length_only, "length")
    assert finding is not None
    assert "the longer answer has the higher reward" in finding.text


def test_half_is_too_much_either_way() -> None:
    run = facts(num_held_out=0)
    assert length(history_of([rewards(0.49)]), run) is None
    assert length(history_of([rewards(0.51)]), run) is not None
    symptom = length(history_of([rewards(-0.75)]), run)
    assert symptom is not None
    assert "shorter" in symptom.text


def test_margins_that_are_noise_say_nothing() -> None:
    assert length(history_of([rewards(0.9, margin=0.05)]), facts(num_held_out=0)) is None


def test_held_out_pairs_are_asked_where_there_are_enough() -> None:
    history = history_of([rewards(0.9)], {1: rewards(0.1)})
    assert length(history, facts(num_held_out=64)) is None
    assert length(history, facts(num_held_out=63)) is not None


def test_rewards_that_go_with_length_from_the_start_are_left_alone() -> None:
    assert RULES["length"].applies(facts("plackett_luce"))
    assert not RULES["length"].applies(facts("cpo"))
    assert not RULES["length"].applies(facts("kto"))
    assert not RULES["length"].applies(facts(num_train=12, num_held_out=2))
