"""Rules of `rules/loss.py`, each on logs written by hand and on a run made sick."""

from typing import Any

from preftune.runs.result import RunResult
from preftune.training.health.rule import Symptom, TooLittle
from preftune.training.health.rules.loss import divergence, flat, gradient
from preftune.training.health.table import RULES
from tests.training.conftest import Start
from tests.training.health.histories import facts, found, history_of
from tests.training.health.world import friendly_pairs


def test_divergence_fires_on_a_thousand_times_the_learning_rate(exploded: RunResult) -> None:
    finding = found(exploded, "divergence")
    assert finding is not None
    assert finding.severity == "sick"


def test_the_loss_must_double() -> None:
    assert divergence(history_of([{"loss": 0.7}, {"loss": 1.39}]), facts()) is None
    assert isinstance(divergence(history_of([{"loss": 0.7}, {"loss": 1.41}]), facts()), Symptom)


def test_divergence_takes_a_whole_window() -> None:
    few = facts(batch_size=16)  # four steps hold 64 pairs
    assert divergence(history_of([{"loss": 0.7}, {"loss": 9.0}, {"loss": 0.7}]), few) == TooLittle(
        "4 steps, which hold 64 pairs; there were 3"
    )
    assert isinstance(
        divergence(history_of([{"loss": 0.7}, {"loss": 9.0}, {"loss": 0.7}, {"loss": 0.7}]), few), Symptom
    )


def test_a_loss_that_was_negative_has_no_double() -> None:
    assert divergence(history_of([{"loss": 0.7}, {"loss": -1.0}, {"loss": 9.0}]), facts()) is None


def norms(*values: float) -> list[dict[str, float]]:
    return [{"grad_norm": value} for value in values]


def test_gradient_fires_on_a_row_whose_tokens_weigh_a_hundred_times_as_much_and_names_it(start: Start) -> None:
    rows: list[dict[str, Any]] = list(friendly_pairs(160, 1))
    heavy = rows[77]
    heavy["rejected_weights"] = [[0, len(heavy["rejected"]), 100.0]]
    result = start(rows, batch_size=4, epochs=1, learning_rate=1e-4, chat="off")
    finding = found(result, "gradient")
    assert finding is not None
    assert len(finding.rows) == 4
    assert any(row.endswith("rows.jsonl:78") for row in finding.rows)
    assert "rows.jsonl:78" in str(finding)


def test_a_norm_must_stand_out_from_those_before() -> None:
    usual = [1.0, 2.0] * 10
    assert gradient(history_of(norms(*usual, 5.0)), facts()) is None
    assert isinstance(gradient(history_of(norms(*usual, 9.0)), facts()), Symptom)


def test_norms_that_never_vary_may_still_grow_a_few_times() -> None:
    assert gradient(history_of(norms(*[1.0] * 20, 4.9)), facts()) is None
    assert isinstance(gradient(history_of(norms(*[1.0] * 20, 5.1)), facts()), Symptom)


def test_what_is_no_more_than_at_the_start_is_no_spike() -> None:
    assert gradient(history_of(norms(*[9.0] * 8, *[1.0] * 60, 8.0)), facts()) is None


def test_the_first_steps_have_nothing_to_stand_out_from() -> None:
    assert isinstance(gradient(history_of(norms(*[1.0] * 15, 99.0)), facts()), TooLittle)


def test_flat_fires_on_a_tiny_learning_rate(start: Start) -> None:
    finding = found(start(friendly_pairs(160, 1), learning_rate=1e-8), "flat")
    assert finding is not None
    assert finding.step == 20
    assert "--learning-rate" in finding.advice


def test_flat_fires_on_a_huge_beta(start: Start) -> None:
    assert found(start(friendly_pairs(160, 1), beta=300.0, learning_rate=1e-5), "flat") is not None


def test_flat_fires_on_sft_whose_held_out_loss_stays(start: Start) -> None:
    result = start(friendly_pairs(160, 1), friendly_pairs(64, 2), method="sft", learning_rate=1e-8)
    assert found(result, "flat") is not None


def test_a_policy_that_moves_is_learning_at_any_loss() -> None:
    steps = [{"loss": 0.69, "logratios/absolute": 0.2}] * 20
    assert flat(history_of(steps), facts()) is None


def test_flat_waits_for_half_of_the_run() -> None:
    steps = [{"logratios/absolute": 0.01}] * 30
    assert isinstance(flat(history_of(steps), facts(max_steps=60)), Symptom)
    assert isinstance(flat(history_of(steps), facts(max_steps=61)), TooLittle)
    assert isinstance(flat(history_of(steps[:19]), facts(max_steps=19)), TooLittle)


def test_a_training_loss_alone_is_no_evidence_without_a_reference() -> None:
    assert not RULES["flat"].applies(facts("sft", num_held_out=0))
    assert RULES["flat"].applies(facts("sft"))
