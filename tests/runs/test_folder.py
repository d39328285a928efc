"""The folder of a run: held by one run, kept, and never emptied of what is not a run's."""

import os
from pathlib import Path

import pytest

from preftune.errors import DataError, OutputError
from preftune.files.outputs import writing_into
from preftune.runs.folder import RunFolder
from preftune.runs.run import train
from tests.runs.inputs import config_of, history


def test_a_run_that_fails_before_training_leaves_the_folder_free(model_folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"prompt": "a", "chosen": "b"}\n')
    with pytest.raises(DataError):
        train(config_of(model_folder, broken, tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_two_runs_never_write_into_one_folder(model_folder: Path, pairs_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    for settings in ({}, {"overwrite": True}, {"resume": True}):
        with (
            writing_into(folder, "preftune train"),
            pytest.raises(OutputError, match=rf"preftune train \(process {os.getpid()} on .*is writing into it"),
        ):
            train(config_of(model_folder, pairs_file, folder, **settings))


def test_a_folder_with_a_run_is_kept_by_default(model_folder: Path, pairs_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    train(config_of(model_folder, pairs_file, folder, epochs=1))
    before = (folder / "metrics.jsonl").read_text()
    with pytest.raises(OutputError, match=r"already holds a run\. Resume it with --resume, delete it"):
        train(config_of(model_folder, pairs_file, folder, epochs=1))
    assert (folder / "metrics.jsonl").read_text() == before
    train(config_of(model_folder, pairs_file, folder, epochs=1, seed=5, overwrite=True))
    assert len(history(folder)) == 3


def test_a_folder_with_foreign_files_is_never_emptied(model_folder: Path, pairs_file: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match="other than those of a preftune run"):
        train(config_of(model_folder, pairs_file, tmp_path, overwrite=True))
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_folder_with_the_config_of_another_tool_is_never_emptied(
    model_folder: Path, pairs_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "config.yaml").write_text("theirs: true")
    with pytest.raises(OutputError, match="other than those of a preftune run"):
        train(config_of(model_folder, pairs_file, tmp_path, overwrite=True))
    assert (tmp_path / "config.yaml").read_text() == "theirs: true"


def test_what_a_run_reads_is_never_overwritten_by_it(model_folder: Path, pairs_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "sft"
    train(config_of(model_folder, pairs_file, folder, method="sft", epochs=1))
    with pytest.raises(OutputError, match="which the run reads, and --overwrite would delete it"):
        train(config_of(folder, pairs_file, folder, overwrite=True))
    assert (folder / "model.safetensors").is_file()


def test_an_output_that_cannot_be_written_is_refused(model_folder: Path, pairs_file: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for output in (tmp_path / "file" / "run", tmp_path / "file"):
        with pytest.raises(OutputError, match=r"cannot be written|is a file"):
            train(config_of(model_folder, pairs_file, output))


KILLED_AT_THE_START: dict[str, dict[str, str]] = {
    "config without run.json": {"config.yaml": "# Method\nmethod: dpo\n"},
    "empty config": {"config.yaml": ""},
    "run.json alone": {"run.json": "{}"},
    "leftovers": {".writable": "", ".lock": "", ".lock.json": "{}", ".config.yaml.host.999999.partial": "half"},
    "both": {".lock": "", ".config.yaml.host.999999.partial": "half", "config.yaml": ""},
}


@pytest.mark.parametrize("state", KILLED_AT_THE_START)
@pytest.mark.parametrize("settings", [{}, {"overwrite": True}], ids=["fresh", "overwrite"])
def test_a_kill_before_the_first_step_does_not_block_the_folder(
    model_folder: Path, pairs_file: Path, tmp_path: Path, state: str, settings: dict[str, bool]
) -> None:
    for name, content in KILLED_AT_THE_START[state].items():
        (tmp_path / name).write_text(content)
    RunFolder(tmp_path).check(config_of(model_folder, pairs_file, tmp_path, **settings))


def test_a_run_that_is_killed_while_it_empties_a_folder_is_known_for_a_run(
    model_folder: Path, pairs_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("config.yaml", "run.json", "a.txt", "model.safetensors"):
        (tmp_path / name).write_text("# Method\n")
    removed = 0
    unlink = Path.unlink

    def killed(path: Path, missing_ok: bool = False) -> None:
        nonlocal removed
        removed += 1
        if removed > 2:
            raise KeyboardInterrupt
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", killed)
    with pytest.raises(KeyboardInterrupt):
        RunFolder(tmp_path).begin(config_of(model_folder, pairs_file, tmp_path, overwrite=True))
    assert {path.name for path in tmp_path.iterdir()} == {"config.yaml", "run.json"}


def test_nothing_to_resume_is_said_of_a_run_that_was_killed_at_its_start(
    model_folder: Path, pairs_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "config.yaml").touch()
    with pytest.raises(OutputError, match=r"holds no run to resume\. Leave out --resume"):
        RunFolder(tmp_path).check(config_of(model_folder, pairs_file, tmp_path, resume=True))


def test_a_link_is_followed_and_one_to_nothing_is_an_error(
    model_folder: Path, pairs_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "real").mkdir()
    link, dangling = tmp_path / "link", tmp_path / "dangling"
    link.symlink_to(tmp_path / "real")
    dangling.symlink_to(tmp_path / "nowhere")
    train(config_of(model_folder, pairs_file, link, max_steps=1))
    train(config_of(model_folder, pairs_file, link, max_steps=1, overwrite=True))
    assert (tmp_path / "real" / "model.safetensors").is_file()
    with pytest.raises(OutputError, match=r"is a link to .*nowhere, which does not exist"):
        train(config_of(model_folder, pairs_file, dangling, overwrite=True))
