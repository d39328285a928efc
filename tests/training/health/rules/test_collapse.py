import json
from pathlib import Path

from preftune.runs.result import RunResult
from preftune.training.health.rules.collapse import collapse
from preftune.training.health.table import RULES
from tests.training.health.histories import facts, found, history_of


def test_it_fires_on_a_thousand_times_the_learning_rate(exploded: RunResult) -> None:
    finding = found(exploded, "collapse")
    assert finding is not None
    assert finding.severity == "sick"


def test_a_quarter_of_the_entropy_must_be_left() -> None:
    assert collapse(history_of([{}], {0: {"entropy": 2.0}, 1: {"entropy": 0.51}}), facts()) is None
    symptom = collapse(history_of([{}], {0: {"entropy": 2.0}, 1: {"entropy": 0.25}}), facts())
    assert symptom is not None
    assert symptom.size == 2.0


def test_samples_are_asked_as_well_as_held_out_answers() -> None:
    before, after = {"entropy": 2.0, "samples/entropy": 1.6}, {"entropy": 1.9, "samples/entropy": 0.1}
    symptom = collapse(history_of([{}], {0: before, 1: after}), facts())
    assert symptom is not None
    assert symptom.size == 4.0
    assert "per token of samples, and was 1.6" in symptom.text


def test_samples_of_a_collapsed_policy_hold_no_surprise(exploded: RunResult) -> None:
    lines = [json.loads(line) for line in (Path(exploded.folder) / "samples.jsonl").read_text().splitlines()]
    assert min(line["entropy"] for line in lines) < 0.25 * lines[0]["entropy"]


def test_imitating_one_wording_is_no_collapse() -> None:
    assert RULES["collapse"].applies(facts("kto"))
    assert not RULES["collapse"].applies(facts("sft"))
    assert not RULES["collapse"].applies(facts(num_held_out=0))
