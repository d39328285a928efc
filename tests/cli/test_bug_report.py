"""Whatever a command raises ends in a message: a bug with a report file, or what the machine lacks."""

import errno
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import pytest

from preftune.cli.bug_report import BUG
from preftune.cli.main import LazyCommand, preftune
from preftune.errors import ModelError
from preftune.model.load.places import loading
from tests.cli.command_line import call, call_with_bugs, error_of, tune

COMMANDS = sorted(preftune.commands)
ARGUMENTS = {"report": ["run"], "cache": ["info"]}
"""Arguments that a command must have."""
MEMORY = [MemoryError(), RuntimeError("can't start new thread"), RuntimeError("std::bad_alloc")]
LACKS = {
    "disk": Exception("[Errno 28] No space left on device"),  # as the writer of TensorBoard raises it
    "quota": OSError(errno.EDQUOT, "Disk quota exceeded"),
    "memory": MemoryError(),
    "threads": RuntimeError("can't start new thread"),
    "allocator": RuntimeError("std::bad_alloc"),
    "files": OSError(errno.EMFILE, "Too many open files"),
}


def raise_in(monkeypatch: pytest.MonkeyPatch, name: str, error: BaseException) -> None:
    """Make the body of a command raise an error."""

    def fail(*_arguments: Any, **_values: Any) -> NoReturn:
        raise error

    command = preftune.commands[name]
    assert isinstance(command, LazyCommand)
    module, _, variable = command._target.partition(":")
    monkeypatch.setattr(getattr(import_module(module), variable or "command"), "callback", fail)


def report_of(text: str) -> str:
    (found,) = (word.rstrip(".") for word in text.split() if "bug-report-" in word)
    return Path(found).read_text()


@pytest.mark.parametrize("name", COMMANDS)
def test_a_bug_in_any_command_is_a_line_and_a_report_file(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    raise_in(monkeypatch, name, KeyError("no such [/b] key\x1b[2J\nand more"))
    result = call_with_bugs(name, *ARGUMENTS.get(name, []))
    assert result.exit_code == BUG
    assert "this is a bug in preftune: KeyError: " in result.stderr
    assert "Traceback" not in result.output
    assert "\x1b" not in result.output
    report = report_of(result.stderr)
    assert "Traceback (most recent call last)" in report
    assert "\ntorch 2." in report


@pytest.mark.parametrize("error", [EOFError(), RecursionError("too deep"), AssertionError(), ValueError("\ud800")])
def test_no_kind_of_error_escapes(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    raise_in(monkeypatch, "methods", error)
    result = call_with_bugs("methods")
    assert result.exit_code == BUG
    assert f"bug in preftune: {type(error).__name__}" in result.stderr
    assert "Aborted" not in result.stderr


@pytest.mark.parametrize("lack", LACKS)
def test_what_the_machine_lacks_is_no_bug(monkeypatch: pytest.MonkeyPatch, lack: str) -> None:
    raise_in(monkeypatch, "methods", LACKS[lack])
    result = call("methods")
    assert result.exit_code == 1
    words = {"disk": "disk is full", "quota": "disk is full", "files": "too many files"}.get(lack, "not enough memory")
    assert words in result.stderr
    assert "bug" not in result.stderr


def test_keys_do_not_reach_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "my-secret-key-1")
    raise_in(monkeypatch, "methods", RuntimeError("at https://me:pw@host/ with my-secret-key-1 or sk-abcdefgh12345"))
    result = call_with_bugs("methods")
    for text in (result.stderr, report_of(result.stderr)):
        assert "my-secret-key-1" not in text
        assert "me:pw" not in text
        assert "sk-abcdefgh12345" not in text


def test_a_bug_while_training_keeps_the_run_and_puts_the_report_beside_it(
    model_folder: Path, pairs_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    monkeypatch.setattr("preftune.runs.run.save_model", None)
    arguments = tune(model_folder, pairs_file, run, "--save-every", "1")
    result = call_with_bugs(*arguments)
    assert result.exit_code == BUG
    assert f"The run in {run} and its checkpoints are kept" in result.stderr
    assert [path.suffix for path in run.glob("bug-report-*")] == [".txt"]
    monkeypatch.undo()
    call(*arguments, "--resume")
    assert (run / "model.safetensors").is_file()


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("can't start new thread"), RuntimeError("std::bad_alloc")]
)
def test_a_model_that_does_not_fit_into_memory_says_so(tmp_path: Path, error: Exception) -> None:
    with (
        pytest.raises(ModelError, match=r"not enough memory to load it .* --weights-dtype bfloat16"),
        loading(str(tmp_path)),
    ):
        raise error


WEIGHTS = {
    "header": ("model.safetensors", b"\xff" * 64),
    "truncated": ("model.safetensors", b"\x40\x00\x00\x00\x00\x00\x00\x00{"),
    "empty": ("model.safetensors", b""),
    "refused pickle": ("pytorch_model.bin", b"\x80\x04cos\nsystem\n(S'true'\ntR."),
    "broken": ("pytorch_model.bin", b"PK\x03\x04 no archive"),
}


@pytest.mark.parametrize("kind", WEIGHTS)
def test_weights_that_cannot_be_read_are_a_message(
    model_folder: Path, pairs_file: Path, tmp_path: Path, kind: str
) -> None:
    model = tmp_path / "model"
    model.mkdir()
    for file in model_folder.iterdir():
        if file.suffix != ".safetensors":
            (model / file.name).write_bytes(file.read_bytes())
    name, content = WEIGHTS[kind]
    (model / name).write_bytes(content)
    error = error_of(*tune(model, pairs_file, tmp_path / "run"))
    assert f"model = {model}: no causal language model could be loaded from it" in error
