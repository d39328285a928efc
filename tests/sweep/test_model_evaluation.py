import os
from dataclasses import replace
from pathlib import Path

from preftune.settings.sweep_config import SweepConfig
from preftune.sweep.model_evaluation import ModelEvaluation
from preftune.sweep.result import PointRecord
from preftune.sweep.run_point import PointOutcome
from preftune.sweep.table import outcome_line
from tests.sweep.made_up import BOOTSTRAP, evaluated


def outcome(record: PointRecord, *evaluations: ModelEvaluation) -> PointOutcome:
    base = {"model": "gpt2", "data": "prefs.jsonl", "eval_fraction": 0.1}
    point = SweepConfig.of(base, {"output": "s", "over": "beta=0.1,0.3"}).points()[0]
    return PointOutcome(point, record, evaluations)


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    found = evaluated(1.0, 2.0, spread=0.5)
    found.write(tmp_path)
    assert ModelEvaluation.read(tmp_path) == found
    assert ModelEvaluation.read(tmp_path / "elsewhere") is None
    (tmp_path / "sweep-evaluation.json").write_text("{")
    assert ModelEvaluation.read(tmp_path) is None


def test_it_is_not_that_of_a_model_which_was_trained_later(tmp_path: Path) -> None:
    found = evaluated(1.0, 2.0)
    found.write(tmp_path)
    summary = tmp_path / "summary.json"
    summary.write_text("{}")
    os.utime(summary, (0, 0))
    assert ModelEvaluation.read(tmp_path, newer_than=summary) == found
    os.utime(tmp_path / "sweep-evaluation.json", (0, 0))
    os.utime(summary, (9, 9))
    assert ModelEvaluation.read(tmp_path, newer_than=summary) is None


def test_a_record_that_cannot_be_read_is_an_open_one(tmp_path: Path) -> None:
    path = tmp_path / "records" / "point.json"
    record = PointRecord("trained", num_steps=3, health=(("suspect", "the loss rises"),))
    record.write(path)
    assert PointRecord.read(path) == record
    assert not record.is_sick
    path.write_text("{}")
    assert PointRecord.read(path) == PointRecord()


def test_a_line_says_what_became_of_a_point() -> None:
    record = PointRecord("trained", num_steps=76, seconds=61.0, num_computed=3, health=(("sick", "it is broken"),))
    line = outcome_line(outcome(record, evaluated(1.0, 2.0)), "score", BOOTSTRAP)
    assert line == (
        "beta=0.1,seed=0: 76 steps in 1 min 1 s; reward 1.000 [1.000, 1.000]; KL 2.00 [2.00, 2.00]; "
        "reference log-probs: 3 computed, 0 kept; health: sick: it is broken"
    )
    assert record.is_sick


def test_missing_verdicts_are_reported() -> None:
    record, found = PointRecord("trained"), replace(evaluated(1.0, 2.0), is_complete=False)
    assert "verdicts are missing" in outcome_line(outcome(record, found), "win_rate", BOOTSTRAP)


def test_a_failure_is_reported_with_its_error() -> None:
    record = PointRecord("trained").failed("DataError: no such file")
    line = outcome_line(outcome(record), "score", BOOTSTRAP)
    assert line == "beta=0.1,seed=0: failed: DataError: no such file"
