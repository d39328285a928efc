import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from preftune.errors import OutputError, SaveError
from preftune.files.outputs import check_output, empty_folder, holds_earlier, saving, writing_into


def test_files_are_put_in_their_places_together(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    with saving(one, other) as files:
        for file in files:
            file.write("é\n")
        assert not one.exists()
    assert (one.read_text("utf-8"), other.read_text("utf-8")) == ("é\n", "é\n")
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("error", [ValueError("bad"), KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_any_error_leaves_the_old_files_unchanged(error: BaseException, tmp_path: Path) -> None:
    path = tmp_path / "one"
    path.write_text("old")
    expected = SaveError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected):
        _write_and_fail(path, error)
    assert [(own.name, own.read_text()) for own in tmp_path.iterdir()] == [("one", "old")]


def _write_and_fail(path: Path, error: BaseException) -> None:
    with saving(path) as [file]:
        file.write("new")
        raise error


def test_a_folder_that_is_not_there_is_made(tmp_path: Path) -> None:
    check_output("output", tmp_path / "a" / "b.jsonl", inputs=[], overwrite=False)
    assert (tmp_path / "a").is_dir()


def test_a_folder_a_file_that_is_there_and_an_input_are_refused(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "a.jsonl").write_text("")
    cases = {
        data: "is a folder",
        data / "a.jsonl": "exists already",
        tmp_path / "data" / "a.jsonl" / "b": "cannot be written",
    }
    for path, problem in cases.items():
        with pytest.raises(OutputError, match=problem):
            check_output("output", path, inputs=[], overwrite=False)
    for inputs in ([str(data)], [str(data / "a.jsonl")], [str(tmp_path / "data" / ".." / "data" / "a.jsonl")]):
        with pytest.raises(OutputError, match="is read as data"):
            check_output("output", data / "a.jsonl", inputs=inputs, overwrite=True)


def test_a_name_of_the_hub_is_no_file_that_could_be_harmed(tmp_path: Path) -> None:
    check_output("output", tmp_path / "out.jsonl", inputs=["Anthropic/hh-rlhf"], overwrite=False)


HOLDING = """
import sys, time
from pathlib import Path
from preftune.files.outputs import writing_into
with writing_into(Path(sys.argv[1]), "preftune train"):
    print("held", flush=True)
    time.sleep(600)
"""


def held_by_another(folder: Path) -> "subprocess.Popen[str]":
    process = subprocess.Popen([sys.executable, "-c", HOLDING, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_writer_is_refused_and_told_who_the_first_is(tmp_path: Path) -> None:
    process = held_by_another(tmp_path / "run")
    try:
        with (
            pytest.raises(OutputError, match=rf"preftune train \(process {process.pid} on .*is writing into it"),
            writing_into(tmp_path / "run", "preftune eval"),
        ):
            pass
    finally:
        process.kill()
        process.communicate()


def test_a_killed_writer_holds_nothing(tmp_path: Path) -> None:
    process = held_by_another(tmp_path / "run")
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert any((tmp_path / "run").iterdir())
    assert not holds_earlier(tmp_path / "run", "preftune run", lambda _: False)
    with writing_into(tmp_path / "run", "preftune train"):
        (tmp_path / "run" / "file").touch()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["file"]


def test_a_folder_that_stays_empty_is_removed(tmp_path: Path) -> None:
    with writing_into(tmp_path / "new", "preftune train"):
        pass
    assert not (tmp_path / "new").exists()


def test_one_process_may_not_hold_a_folder_twice(tmp_path: Path) -> None:
    with (
        writing_into(tmp_path, "preftune train"),
        pytest.raises(OutputError, match="is writing into it"),
        writing_into(tmp_path, "preftune train"),
    ):
        pass


def test_a_full_disk_is_reported_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fills_up(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", fills_up)
    with (
        pytest.raises(OutputError, match=r"cannot be written \(No space left on device\)"),
        writing_into(tmp_path / "run", "preftune train"),
    ):
        raise AssertionError("the folder is not held")
    assert not list(tmp_path.iterdir())


def test_emptying_a_held_folder_keeps_it_held(tmp_path: Path) -> None:
    with writing_into(tmp_path, "preftune train"):
        (tmp_path / "checkpoint-1").mkdir()
        (tmp_path / "checkpoint-1" / "file").touch()
        (tmp_path / "config.yaml").touch()
        empty_folder(tmp_path)
        assert all(path.name.startswith(".lock") for path in tmp_path.iterdir())
        with pytest.raises(OutputError, match="is writing into it"), writing_into(tmp_path, "preftune train"):
            pass


def test_a_link_to_itself_as_output_is_replaced(tmp_path: Path) -> None:
    source, loop = tmp_path / "prefs.jsonl", tmp_path / "loop.jsonl"
    source.touch()
    loop.symlink_to(loop)
    check_output("output", loop, inputs=[str(source)], overwrite=True)
    with saving(loop) as [file]:
        file.write("whole")
    assert loop.read_text() == "whole"
