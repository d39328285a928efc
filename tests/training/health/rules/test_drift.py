"""Rules of `rules/drift.py`, each on logs written by hand and on a run made sick."""

import json
from pathlib import Path

import pytest

from preftune.runs.result import RunResult
from preftune.training.health.history import History
from preftune.training.health.rule import Symptom
from preftune.training.health.rules.drift import collapse, distance, lengths
from preftune.training.health.table import RULES
from tests.training.conftest import Start
from tests.training.health.histories import facts, found, history_of
from tests.training.health.world import friendly_pairs, longer_pairs


def logratios(nats: float, per_token: float) -> dict[str, float]:
    return {"logratios/absolute": nats, "logratios/per_token": per_token}


def test_distance_fires_on_a_thousand_times_the_learning_rate(exploded: RunResult) -> None:
    finding = found(exploded, "distance")
    assert finding is not None
    assert finding.severity == "sick"
    assert "held-out answers" in finding.text
    assert finding.size > 10


def test_distance_fires_on_the_kl_of_samples(far_in_samples: RunResult) -> None:
    finding = found(far_in_samples, "distance")
    assert finding is not None
    assert "the KL of samples is" in finding.text


def test_the_kl_of_samples_counts_beyond_two_standard_errors() -> None:
    def after(kl: float, error: float, num_tokens: float = 20.0) -> History:
        return history_of([{}], {1: {"samples/kl": kl, "samples/kl_error": error, "samples/num_tokens": num_tokens}})

    assert distance(after(80.0, 20.0), facts()) is None
    assert isinstance(distance(after(80.0, 10.0), facts()), Symptom)
    assert distance(after(80.0, 10.0, num_tokens=400.0), facts()) is None
    symptom = distance(after(100.0, 0.0), facts())
    assert isinstance(symptom, Symptom)
    assert symptom.size == 2.0


def test_the_worse_of_samples_and_answers_is_reported() -> None:
    samples = {"samples/kl": 60.0, "samples/num_tokens": 20.0}
    symptom = distance(history_of([{}], {1: {**samples, **logratios(100.0, 4.0)}}), facts())
    assert isinstance(symptom, Symptom)
    assert symptom.size == 2.0
    assert "held-out answers are 100 nats" in symptom.text


def test_long_answers_may_be_far_and_short_ones_different() -> None:
    assert distance(history_of([logratios(80.0, 0.2)]), facts()) is None
    assert distance(history_of([logratios(20.0, 2.0)]), facts()) is None
    assert isinstance(distance(history_of([logratios(80.0, 2.0)]), facts()), Symptom)


def test_held_out_answers_come_before_training_answers() -> None:
    history = history_of([logratios(80.0, 2.0)], {1: logratios(20.0, 0.2)})
    assert distance(history, facts()) is None
    symptom = distance(history_of([logratios(1.0, 0.1)], {1: logratios(100.0, 4.0)}), facts())
    assert isinstance(symptom, Symptom)
    assert symptom.size == 2.0


def test_collapse_fires_on_a_thousand_times_the_learning_rate(exploded: RunResult) -> None:
    finding = found(exploded, "collapse")
    assert finding is not None
    assert finding.severity == "sick"


def test_a_quarter_of_the_entropy_must_be_left() -> None:
    assert collapse(history_of([{}], {0: {"entropy": 2.0}, 1: {"entropy": 0.51}}), facts()) is None
    symptom = collapse(history_of([{}], {0: {"entropy": 2.0}, 1: {"entropy": 0.25}}), facts())
    assert isinstance(symptom, Symptom)
    assert symptom.size == 2.0


def test_samples_count_as_well_as_held_out_answers() -> None:
    before, after = {"entropy": 2.0, "samples/entropy": 1.6}, {"entropy": 1.9, "samples/entropy": 0.1}
    symptom = collapse(history_of([{}], {0: before, 1: after}), facts())
    assert isinstance(symptom, Symptom)
    assert symptom.size == 4.0
    assert "per token of samples, and was 1.6" in symptom.text


def test_samples_of_a_collapsed_policy_hold_no_surprise(exploded: RunResult) -> None:
    lines = [json.loads(line) for line in (Path(exploded.folder) / "samples.jsonl").read_text().splitlines()]
    assert min(line["entropy"] for line in lines) < 0.25 * lines[0]["entropy"]


def test_imitating_one_wording_is_no_collapse() -> None:
    assert RULES["collapse"].applies(facts("kto"))
    assert not RULES["collapse"].applies(facts("sft"))
    assert not RULES["collapse"].applies(facts(num_held_out=0))


RUN = facts(num_samples=8)


@pytest.fixture(scope="session")
def endless(start: Start, tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    """A model that writes short answers learns that longer is better, much too fast."""
    writer = start(friendly_pairs(160, 1), method="sft", learning_rate=1e-2, epochs=4, chat="off")
    return start(
        *(longer_pairs(200, 1), longer_pairs(40, 2)),
        model=Path(writer.folder), epochs=1, learning_rate=3e-2, warmup=0.0, eval_samples=16, eval_sample_tokens=48,
        chat="off",
    )  # fmt: skip


def samples(num_tokens: float, error: float = 0.0, finished: float = 1.0) -> dict[str, float]:
    names = ("num_tokens", "num_tokens_error", "finished")
    return {f"samples/{name}": value for name, value in zip(names, (num_tokens, error, finished), strict=True)}


def test_lengths_fires_where_the_longer_answer_is_chosen_and_learned_too_fast(endless: RunResult) -> None:
    finding = found(endless, "lengths")
    assert finding is not None
    assert finding.severity == "suspect"
    assert "of samples come to an end within the limit" in finding.text


def test_twice_as_long_or_half_as_long_is_too_much() -> None:
    assert lengths(history_of([{}], {0: samples(20.0), 1: samples(39.0)}), RUN) is None
    assert lengths(history_of([{}], {0: samples(20.0), 1: samples(10.5)}), RUN) is None
    longer = lengths(history_of([{}], {0: samples(20.0), 1: samples(80.0)}), RUN)
    assert isinstance(longer, Symptom)
    assert longer.size == 2.0
    shorter = lengths(history_of([{}], {0: samples(20.0), 1: samples(5.0)}), RUN)
    assert isinstance(shorter, Symptom)
    assert shorter.size == 2.0


def test_chance_in_few_samples_is_no_finding() -> None:
    # Three standard errors of the difference: 3 * sqrt(6^2 + 8^2) = 30.
    assert lengths(history_of([{}], {0: samples(20.0, 6.0), 1: samples(49.0, 8.0)}), RUN) is None
    assert isinstance(lengths(history_of([{}], {0: samples(20.0, 6.0), 1: samples(51.0, 8.0)}), RUN), Symptom)


def test_samples_that_no_longer_end_are_reported() -> None:
    # Three standard errors at 8 samples: 3 * sqrt(0.5 / 8) = 0.75; at 64 they are 0.27, and a half is needed.
    def after(finished: float) -> dict[int, dict[str, float]]:
        return {0: samples(20.0), 1: samples(21.0, finished=finished)}

    assert lengths(history_of([{}], after(0.375)), RUN) is None
    symptom = lengths(history_of([{}], after(0.125)), RUN)
    assert isinstance(symptom, Symptom)
    assert "12% of samples come to an end" in symptom.text
    assert isinstance(lengths(history_of([{}], after(0.45)), facts(num_samples=64)), Symptom)
    assert lengths(history_of([{}], after(0.55)), facts(num_samples=64)) is None


def test_a_single_sample_says_nothing_of_its_spread() -> None:
    one = {"samples/num_tokens": 20.0}, {"samples/num_tokens": 90.0}
    assert lengths(history_of([{}], dict(enumerate(one))), facts(num_samples=1)) is None


def test_lengths_needs_samples_at_evaluations_and_lengths_that_are_not_what_is_learned() -> None:
    assert RULES["lengths"].applies(facts("kto", num_samples=8))
    assert not RULES["lengths"].applies(facts(num_samples=0))
    assert not RULES["lengths"].applies(facts(num_samples=8, num_held_out=0))
    assert not RULES["lengths"].applies(facts("sft", num_samples=8))
