"""Rules of `rules/held_out.py`, each on logs written by hand and on a run made sick."""

from preftune.runs.result import RunResult
from preftune.training.health.rule import Symptom, TooLittle
from preftune.training.health.rules.held_out import gap, held_out_loss, shortcut
from preftune.training.health.table import RULES
from tests.training.health.histories import facts, found, history_of

SURE = {"rewards/accuracies": 0.99}


def test_shortcut_fires_if_one_word_decides(hardly_different: RunResult) -> None:
    finding = found(hardly_different, "shortcut")
    assert finding is not None
    assert "100.0% of pairs that were new" in finding.text


def test_shortcut_fires_if_length_decides(length_only: RunResult) -> None:
    assert found(length_only, "shortcut") is not None


def test_pairs_of_a_second_epoch_may_be_known() -> None:
    run = facts(num_train=128, num_held_out=0)  # an epoch of two steps
    assert isinstance(shortcut(history_of([SURE] * 2), run), Symptom)
    assert isinstance(shortcut(history_of([{"rewards/accuracies": 0.9}] * 2 + [SURE] * 2), run), TooLittle)


def test_shortcut_takes_a_hundred_pairs() -> None:
    assert isinstance(shortcut(history_of([SURE]), facts(num_held_out=0)), TooLittle)
    assert isinstance(shortcut(history_of([{}], {1: SURE}), facts(num_held_out=99)), TooLittle)
    assert isinstance(shortcut(history_of([{}], {1: SURE}), facts(num_held_out=100)), Symptom)


def test_thumbs_and_demonstrations_have_no_pairs() -> None:
    assert RULES["shortcut"].applies(facts("simpo"))
    assert not RULES["shortcut"].applies(facts("kto"))
    assert not RULES["shortcut"].applies(facts("sft"))


def accuracy(value: float) -> dict[str, float]:
    return {"rewards/accuracies": value}


def test_gap_fires_on_held_out_labels_that_are_swapped(swapped_labels: RunResult) -> None:
    finding = found(swapped_labels, "gap")
    assert finding is not None
    assert "labelled the same way" in finding.advice


def test_more_held_out_pairs_show_a_smaller_gap() -> None:
    history = history_of([accuracy(0.95)], {1: accuracy(0.65)})
    assert gap(history, facts(num_held_out=40)) is None
    assert isinstance(gap(history, facts(num_held_out=4000)), Symptom)


def test_the_evaluation_before_the_first_step_does_not_count() -> None:
    assert isinstance(gap(history_of([accuracy(1.0)], {0: accuracy(0.0)}), facts()), TooLittle)


def test_held_out_loss_fires_on_held_out_labels_that_are_swapped(swapped_labels: RunResult) -> None:
    assert found(swapped_labels, "held_out_loss") is not None


def test_a_tenth_above_its_lowest_is_too_much() -> None:
    steps = [{"loss": 0.3}] * 3
    rising = {0: {"loss": 0.7}, 1: {"loss": 0.5}}
    assert held_out_loss(history_of(steps, {**rising, 2: {"loss": 0.54}}), facts()) is None
    assert isinstance(held_out_loss(history_of(steps, {**rising, 2: {"loss": 0.56}}), facts()), Symptom)


def test_a_training_loss_that_rises_too_is_no_overfitting() -> None:
    history = history_of([{"loss": 0.9}] * 2, {0: {"loss": 0.5}, 2: {"loss": 0.8}})
    assert held_out_loss(history, facts()) is None


def test_a_handful_of_rows_may_rise_by_chance() -> None:
    history = history_of([{"loss": 0.3}] * 2, {0: {"loss": 0.5}, 2: {"loss": 0.8}})
    assert held_out_loss(history, facts(num_held_out=31)) == TooLittle("32 held-out pairs; there are 31")
