import json
import math
from pathlib import Path

import pytest
import torch

from preftune.errors import DataError, SaveError
from preftune.evaluation.best_of import BestOf
from preftune.evaluation.preferences import evaluate_preferences
from preftune.evaluation.result import EvaluationResult
from preftune.evaluation.samples import Example, Samples, Writing
from preftune.evaluation.win_rate import rate_wins
from preftune.files.json_files import as_json, from_json
from preftune.judges.judge import Comparison, JudgedComparison, Verdict
from preftune.losses import ReferencedLogps
from preftune.metrics.implicit_reward import ImplicitReward
from preftune.metrics.intervals import Bootstrap, Interval
from tests.builders import token_groups

BOOTSTRAP = Bootstrap(num_resamples=20)


def result() -> EvaluationResult:
    """One with everything in it."""
    groups = token_groups(3)
    logps = ReferencedLogps(torch.arange(-6.0, 0.0), torch.full((6,), -3.0), torch.full((6,), 2))
    interval = Interval(0.5, 0.25, 0.75, 0.125, 3)
    writing = Writing(interval, interval, (0.5, 0.75, 1.0))
    judged = [JudgedComparison(Comparison(0, "p", "a", "b"), Verdict("first"), Verdict("tie"))]
    win_rate = rate_wins(judged, judge="judge", against="chosen", temperature=1.0, bootstrap=BOOTSTRAP)
    assert win_rate is not None
    return EvaluationResult(
        model="run",
        reference="base",
        data=("held.jsonl",),
        confidence=0.95,
        num_resamples=20,
        seed=0,
        preferences=evaluate_preferences(groups, logps, ImplicitReward("logratio", 0.1), bootstrap=BOOTSTRAP),
        samples=Samples(3, 1, 16, interval, interval, interval, writing, None, None, (Example("Grüß", "a", None),)),
        win_rates=(win_rate,),
        best_of=BestOf(4, "reference", interval, interval, interval, interval, 0.6, None),
    )


def test_a_result_is_the_same_after_json(tmp_path: Path) -> None:
    before = result()
    before.write(tmp_path / "new" / "evaluation.json")
    after = EvaluationResult.read(tmp_path / "new" / "evaluation.json")
    assert after.as_dict() == before.as_dict()
    assert after.samples == before.samples
    assert after.preferences is not None
    assert before.preferences is not None
    assert after.preferences.pairs == before.preferences.pairs
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["evaluation.json"]


def test_nan_is_null_and_the_file_is_strict_json(tmp_path: Path) -> None:
    result().write(tmp_path / "evaluation.json")
    text = (tmp_path / "evaluation.json").read_text(encoding="utf-8")

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    values = json.loads(text, parse_constant=refuse)
    assert values["win_rates"][0]["rate"]["low"] is None  # of a single prompt
    assert math.isnan(EvaluationResult.from_dict(values).win_rates[0].rate.low)
    assert "Grüß" in text


@pytest.mark.parametrize("content", ["{", "[]", '{"model": "run"}'])
def test_a_file_that_holds_something_else_is_named(content: str, tmp_path: Path) -> None:
    file = tmp_path / "evaluation.json"
    file.write_text(content)
    with pytest.raises(DataError, match=r"evaluation\.json: holds no readable result of `preftune eval`"):
        EvaluationResult.read(file)


def test_a_result_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SaveError, match="could not be written"):
        result().write(tmp_path / "file" / "evaluation.json")


def test_values_of_another_shape_are_refused() -> None:
    assert from_json(tuple[int, ...] | None, None) is None
    for kind, value in ((Interval, {"value": 1.0}), (int, "1"), (tuple[int, ...], 3), (str, None)):
        with pytest.raises(ValueError, match="expected"):
            from_json(kind, value)
    assert as_json(Interval(1.0, math.inf, 2.0, 0.5, 1))["low"] is None


def test_a_result_from_before_there_were_strengths_can_be_read() -> None:
    values = result().as_dict()
    del values["strength"]
    assert EvaluationResult.from_dict(values).strength is None
    del values["seed"]
    with pytest.raises(ValueError, match="expected an object with model"):
        EvaluationResult.from_dict(values)
