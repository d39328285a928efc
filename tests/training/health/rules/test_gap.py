from preftune.runs.result import RunResult
from preftune.training.health.rules.gap import gap
from tests.training.health.histories import facts, found, history_of


def accuracy(value: float) -> dict[str, float]:
    return {"rewards/accuracies": value}


def test_it_fires_on_held_out_labels_that_are_swapped(swapped_labels: RunResult) -> None:
    finding = found(swapped_labels, "gap")
    assert finding is not None
    assert "labelled the same way" in finding.advice


def test_more_held_out_pairs_show_a_smaller_gap() -> None:
    history = history_of([accuracy(0.95)], {1: accuracy(0.65)})
    assert gap(history, facts(num_held_out=40)) is None
    assert gap(history, facts(num_held_out=4000)) is not None


def test_the_evaluation_before_the_first_step_does_not_count() -> None:
    assert gap(history_of([accuracy(1.0)], {0: accuracy(0.0)}), facts()) is None
