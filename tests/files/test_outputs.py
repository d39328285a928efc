from pathlib import Path

import pytest

from preftune.errors import OutputError, SaveError
from preftune.files.outputs import check_output, saving


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
