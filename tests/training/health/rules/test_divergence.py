from preftune.runs.result import RunResult
from preftune.training.health.rules.divergence import divergence
from tests.training.health.histories import facts, found, history_of


def test_it_fires_on_a_thousand_times_the_learning_rate(exploded: RunResult) -> None:
    finding = found(exploded, "divergence")
    assert finding is not None
    assert finding.severity == "sick"


def test_the_loss_must_double() -> None:
    assert divergence(history_of([{"loss": 0.7}, {"loss": 1.39}]), facts()) is None
    assert divergence(history_of([{"loss": 0.7}, {"loss": 1.41}]), facts()) is not None


def test_it_takes_a_whole_window() -> None:
    few = facts(batch_size=16)  # four steps hold 64 pairs
    assert divergence(history_of([{"loss": 0.7}, {"loss": 9.0}, {"loss": 0.7}]), few) is None
    assert divergence(history_of([{"loss": 0.7}, {"loss": 9.0}, {"loss": 0.7}, {"loss": 0.7}]), few) is not None


def test_a_loss_that_was_negative_has_no_double() -> None:
    assert divergence(history_of([{"loss": 0.7}, {"loss": -1.0}, {"loss": 9.0}]), facts()) is None
