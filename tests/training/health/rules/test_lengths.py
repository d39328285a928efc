from pathlib import Path

import pytest

from preftune.runs.result import RunResult
from preftune.training.health.rules.lengths import lengths
from preftune.training.health.table import RULES
from tests.training.conftest import Start
from tests.training.health.histories import facts, found, history_of
from tests.training.health.world import friendly_pairs, longer_pairs

RUN = facts(num_samples=8)


@pytest.fixture(scope="session")
def endless(start: Start, tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    """A model that writes short answers learns that longer is better, much too fast."""
    writer = start(friendly_pairs(160, 1), method="sft", learning_rate=1e-2, epochs=4)
    return start(
        *(longer_pairs(200, 1), longer_pairs(40, 2)),
        model=Path(writer.folder), epochs=1, learning_rate=3e-2, eval_samples=16, eval_sample_tokens=48,
    )  # fmt: skip


def samples(num_tokens: float, error: float = 0.0, finished: float = 1.0) -> dict[str, float]:
    names = ("num_tokens", "num_tokens_error", "finished")
    return {f"samples/{name}": value for name, value in zip(names, (num_tokens, error, finished), strict=True)}


def test_it_fires_where_the_longer_answer_is_chosen_and_learned_too_fast(endless: RunResult) -> None:
    finding = found(endless, "lengths")
    assert finding is not None
    assert finding.severity == "suspect"
    assert "of samples come to an end within the limit" in finding.text


def test_twice_as_long_or_half_as_long_is_too_much() -> None:
    assert lengths(history_of([{}], {0: samples(20.0), 1: samples(39.0)}), RUN) is None
    assert lengths(history_of([{}], {0: samples(20.0), 1: samples(10.5)}), RUN) is None
    longer = lengths(history_of([{}], {0: samples(20.0), 1: samples(80.0)}), RUN)
    assert longer is not None
    assert longer.size == 2.0
    shorter = lengths(history_of([{}], {0: samples(20.0), 1: samples(5.0)}), RUN)
    assert shorter is not None
    assert shorter.size == 2.0


def test_what_few_samples_do_by_chance_is_left_alone() -> None:
    # Three standard errors of the difference: 3 * sqrt(6^2 + 8^2) = 30.
    assert lengths(history_of([{}], {0: samples(20.0, 6.0), 1: samples(49.0, 8.0)}), RUN) is None
    assert lengths(history_of([{}], {0: samples(20.0, 6.0), 1: samples(51.0, 8.0)}), RUN) is not None


def test_samples_that_come_to_no_end_any_more_are_told_of() -> None:
    # Three standard errors at 8 samples: 3 * sqrt(0.5 / 8) = 0.75; at 64 they are 0.27, and a half is needed.
    def after(finished: float) -> dict[int, dict[str, float]]:
        return {0: samples(20.0), 1: samples(21.0, finished=finished)}

    assert lengths(history_of([{}], after(0.375)), RUN) is None
    symptom = lengths(history_of([{}], after(0.125)), RUN)
    assert symptom is not None
    assert "12% of samples come to an end" in symptom.text
    assert lengths(history_of([{}], after(0.45)), facts(num_samples=64)) is not None
    assert lengths(history_of([{}], after(0.55)), facts(num_samples=64)) is None


def test_a_single_sample_says_nothing_of_its_spread() -> None:
    one = {"samples/num_tokens": 20.0}, {"samples/num_tokens": 90.0}
    assert lengths(history_of([{}], dict(enumerate(one))), facts(num_samples=1)) is None


def test_it_needs_samples_at_evaluations_and_lengths_that_are_not_what_is_learned() -> None:
    assert RULES["lengths"].applies(facts("kto", num_samples=8))
    assert not RULES["lengths"].applies(facts(num_samples=0))
    assert not RULES["lengths"].applies(facts(num_samples=8, num_held_out=0))
    assert not RULES["lengths"].applies(facts("sft", num_samples=8))
