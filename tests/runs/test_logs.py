import math
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from preftune.runs.logs import Log, merged, read_logs, series_of
from tests.report.run_folders import write_lines


def test_the_last_log_of_a_repeated_step_counts(tmp_path: Path) -> None:
    before = [{"step": step, "loss": float(step)} for step in (1, 10, 20, 25)]
    after = [{"step": step, "loss": -float(step)} for step in (20, 30)]
    write_lines(tmp_path / "metrics.jsonl", [*before, *after])
    series = series_of(read_logs(tmp_path / "metrics.jsonl"), "loss")
    assert series.steps == (1, 10, 20, 30)
    assert series.values == (1.0, 10.0, -20.0, -30.0)


def test_the_evaluation_of_the_step_that_a_run_resumed_from_stays() -> None:
    logs: list[Log] = [
        {"step": 38, "eval_loss": 0.5},
        {"step": 40, "loss": 0.6},
        {"step": 40, "loss": 0.7},
        {"step": 50},
    ]
    assert series_of(merged(logs), "eval_loss").values == (0.5,)
    assert series_of(merged(logs), "loss").values == (0.7,)


def test_values_that_are_not_finite_numbers_are_nan() -> None:
    values = [math.nan, math.inf, -math.inf, None, "much", 1]
    series = series_of([{"step": step, "loss": value} for step, value in enumerate(values)], "loss")
    assert [math.isnan(value) for value in series.values] == [True] * 5 + [False]


@given(st.lists(st.integers(0, 20)))
def test_merged_steps_never_fall_and_end_with_the_last_line(steps: list[int]) -> None:
    kept = [log["step"] for log in merged([{"step": step} for step in steps])]
    assert kept == sorted(kept)
    assert kept[-1:] == steps[-1:]
