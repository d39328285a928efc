"""Data checks before training."""

import json
from collections.abc import Iterable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from preftune.data.load import LoadedGroups, groups_from_rows
from preftune.data.quality.checks import CHECKS
from preftune.runs import data_report
from preftune.runs.data_report import LEFT_OUT, check_data
from preftune.runs.folder import RunFolder
from preftune.runs.run import train
from tests.runs.inputs import config_of
from tests.training.health.world import friendly_pairs, write_rows

Row = dict[str, Any]


def loaded(rows: Iterable[Row]) -> LoadedGroups:
    return groups_from_rows(rows, source="rows.jsonl", on_bad_row="skip")


def contradicting(count: int) -> list[Row]:
    """Half of the pairs say the contrary of the other half."""
    rows = list(friendly_pairs(count // 2, 1))
    return [*rows, *({**row, "chosen": row["rejected"], "rejected": row["chosen"]} for row in rows)]


def test_errors_are_named_and_warnings_counted_in_one_line() -> None:
    data = loaded(contradicting(40))
    found = check_data(data, data.groups, [], ["my rows.jsonl"])
    (line,) = found.lines()
    assert line.startswith("data check: ")
    assert "in 40 rows (" in line
    errors = [finding for finding in found.report.findings if finding.severity == "error"]
    assert errors
    assert errors[0].title in line
    assert line.endswith("see data-check.json, or preftune check 'my rows.jsonl'")


def test_good_data_need_no_line() -> None:
    data = loaded(friendly_pairs(120, 1))
    found = check_data(data, data.groups, [], ["rows.jsonl"])
    assert not found.report.fails("warning")
    assert list(found.lines()) == []


def test_of_many_rows_some_are_looked_at_spread_evenly_and_it_says_how_many() -> None:
    rows = list(friendly_pairs(60, 1))
    for row in rows[30:]:
        row["rejected"] = row["chosen"]  # which only a look at the second half can find
    data = loaded(rows)
    assert len(data.skipped) == 30
    found = check_data(data, data.groups, [], ["rows.jsonl"], max_rows=20)
    assert found.report.num_rows == 20
    assert "20 of 60 rows" in next(found.lines())
    assert {finding.rule: finding.count for finding in found.report.findings}["identical"] == 10
    assert found.record().checked == 20
    assert found.record().of == 60


def test_the_dearest_checks_are_left_out_and_named() -> None:
    data = loaded(friendly_pairs(10, 1))
    report = check_data(data, data.groups, [], ["rows.jsonl"]).record()
    assert report.left_out == LEFT_OUT
    assert {*report.checks, *report.left_out, *report.skipped} == {*CHECKS}


def test_prompts_that_are_held_out_as_well_are_found() -> None:
    data = loaded(friendly_pairs(10, 1))
    found = check_data(data, data.groups, data.groups[:5], ["rows.jsonl"])
    assert "overlap" in {finding.rule for finding in found.report.findings}


def test_a_run_writes_the_report_and_trains_despite_findings(model_folder: Path, tmp_path: Path) -> None:
    console = Console(file=StringIO(), width=60)
    file = Path(write_rows(tmp_path / "rows.jsonl", contradicting(20)))
    result = train(config_of(model_folder, file, tmp_path / "run", epochs=1, seed=4), console=console)
    assert result.num_steps == 5
    report = json.loads((tmp_path / "run" / "data-check.json").read_text())
    assert (report["checked"], report["of"]) == (20, 20)
    assert report["counts"]["error"] > 0
    assert isinstance(console.file, StringIO)
    (line,) = [line for line in console.file.getvalue().splitlines() if line.startswith("data check: ")]
    assert line.endswith("rows.jsonl")


def test_it_may_be_left_out(
    model_folder: Path, pairs_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(data_report, "check_groups")
    train(config_of(model_folder, pairs_file, tmp_path / "run", epochs=1, check_data=False))
    assert not (tmp_path / "run" / "data-check.json").exists()


def test_the_tokenizer_of_the_run_counts_tokens_in_its_data_check(
    model_folder: Path, pairs_file: Path, tmp_path: Path
) -> None:
    train(config_of(model_folder, pairs_file, tmp_path / "run", max_steps=1))
    record = RunFolder(tmp_path / "run").data_check()
    assert record is not None
    assert not any("needs --tokenizer" in lack for lack in record.skipped.values())
    assert "tokens" in record.checks or not record.skipped
