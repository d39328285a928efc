from pathlib import Path

import pytest

from preftune.runs.samples_file import SamplesFile


@pytest.fixture
def file(tmp_path: Path) -> SamplesFile:
    file = SamplesFile(tmp_path / "samples.jsonl")
    for step in (0, 5, 10):
        file.append({"step": step, "samples": ["ä\u2028"]})
    return file


def steps(file: SamplesFile) -> list[int]:
    return [line["step"] for line in file.lines()]


def test_a_step_is_written_once(file: SamplesFile) -> None:
    file.append({"step": 5, "samples": []})
    assert steps(file) == [0, 5, 10]
    assert file.line_of(5) == {"step": 5, "samples": ["ä\u2028"]}


def test_later_steps_are_dropped_where_the_run_goes_on(file: SamplesFile) -> None:
    file.keep_until(5)
    assert steps(file) == [0, 5]


def test_a_line_cut_short_does_not_spoil_the_next(file: SamplesFile, tmp_path: Path) -> None:
    with (tmp_path / "samples.jsonl").open("a") as torn:
        torn.write('{"step": 15, "sam')
    assert steps(file) == [0, 5, 10]
    file.keep_until(10)
    file.append({"step": 15})
    assert steps(file) == [0, 5, 10, 15]


def test_there_may_be_no_file_yet(tmp_path: Path) -> None:
    file = SamplesFile(tmp_path / "none.jsonl")
    file.keep_until(0)
    assert steps(file) == []
    assert file.line_of(0) is None
