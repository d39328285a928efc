from preftune.runs.result import RunResult
from preftune.training.health.history import History
from preftune.training.health.rules.distance import distance
from tests.training.health.histories import facts, found, history_of


def logratios(nats: float, per_token: float) -> dict[str, float]:
    return {"logratios/absolute": nats, "logratios/per_token": per_token}


def test_it_fires_on_a_thousand_times_the_learning_rate(exploded: RunResult) -> None:
    finding = found(exploded, "distance")
    assert finding is not None
    assert finding.severity == "sick"
    assert "held-out answers" in finding.text
    assert finding.size > 10


def test_it_fires_on_the_kl_of_samples(far_in_samples: RunResult) -> None:
    finding = found(far_in_samples, "distance")
    assert finding is not None
    assert "the KL of samples is" in finding.text


def test_the_kl_of_samples_counts_beyond_two_standard_errors() -> None:
    def after(kl: float, error: float, num_tokens: float = 20.0) -> History:
        return history_of([{}], {1: {"samples/kl": kl, "samples/kl_error": error, "samples/num_tokens": num_tokens}})

    assert distance(after(80.0, 20.0), facts()) is None
    assert distance(after(80.0, 10.0), facts()) is not None
    assert distance(after(80.0, 10.0, num_tokens=400.0), facts()) is None
    symptom = distance(after(100.0, 0.0), facts())
    assert symptom is not None
    assert symptom.size == 2.0


def test_the_worse_of_samples_and_answers_is_told_of() -> None:
    samples = {"samples/kl": 60.0, "samples/num_tokens": 20.0}
    symptom = distance(history_of([{}], {1: {**samples, **logratios(100.0, 4.0)}}), facts())
    assert symptom is not None
    assert symptom.size == 2.0
    assert "held-out answers are 100 nats" in symptom.text


def test_long_answers_may_be_far_and_short_ones_different() -> None:
    assert distance(history_of([logratios(80.0, 0.2)]), facts()) is None
    assert distance(history_of([logratios(20.0, 2.0)]), facts()) is None
    assert distance(history_of([logratios(80.0, 2.0)]), facts()) is not None


def test_held_out_answers_come_before_training_answers() -> None:
    history = history_of([logratios(80.0, 2.0)], {1: logratios(20.0, 0.2)})
    assert distance(history, facts()) is None
    symptom = distance(history_of([logratios(1.0, 0.1)], {1: logratios(100.0, 4.0)}), facts())
    assert symptom is not None
    assert symptom.size == 2.0
