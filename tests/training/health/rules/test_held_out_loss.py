from preftune.runs.result import RunResult
from preftune.training.health.rules.held_out_loss import held_out_loss
from tests.training.health.histories import facts, found, history_of


def test_it_fires_on_held_out_labels_that_are_swapped(swapped_labels: RunResult) -> None:
    assert found(swapped_labels, "held_out_loss") is not None


def test_a_tenth_above_its_lowest_is_too_much() -> None:
    steps = [{"loss": 0.3}] * 3
    rising = {0: {"loss": 0.7}, 1: {"loss": 0.5}}
    assert held_out_loss(history_of(steps, {**rising, 2: {"loss": 0.54}}), facts()) is None
    assert held_out_loss(history_of(steps, {**rising, 2: {"loss": 0.56}}), facts()) is not None


def test_a_training_loss_that_rises_too_is_no_overfitting() -> None:
    history = history_of([{"loss": 0.9}] * 2, {0: {"loss": 0.5}, 2: {"loss": 0.8}})
    assert held_out_loss(history, facts()) is None


def test_a_handful_of_rows_may_rise_by_chance() -> None:
    history = history_of([{"loss": 0.3}] * 2, {0: {"loss": 0.5}, 2: {"loss": 0.8}})
    assert held_out_loss(history, facts(num_held_out=31)) is None
