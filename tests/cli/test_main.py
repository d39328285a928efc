import os
import subprocess
import sys
from pathlib import Path

import pytest

from preftune import __version__
from preftune.cli import train
from preftune.errors import TrainingError
from tests.cli.command_line import call, tune


def test_help_lists_every_subcommand_with_a_line() -> None:
    text = call("--help").stdout
    for name in ("demo", "sft", "train", "methods", "generate", "merge"):
        assert f" {name} " in text
    assert "Write an adapter and its base model as one model." in text


def test_help_and_version_import_no_heavy_library() -> None:
    code = (
        "import sys\nfrom click.testing import CliRunner\nfrom preftune.cli.main import preftune\n"
        "for flag in ('--version', '--help'):\n    print(CliRunner().invoke(preftune, [flag]).output)\n"
        "print({'torch', 'transformers', 'datasets', 'peft'} & set(sys.modules))"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert __version__ in output
    assert output.endswith("\nset()\n")


def test_it_runs_as_a_module() -> None:
    output = subprocess.run([sys.executable, "-m", "preftune", "--help"], capture_output=True, text=True, check=True)
    assert "Usage: preftune" in output.stdout


def test_an_unknown_subcommand_is_named() -> None:
    result = call("trian")
    assert result.exit_code == 2
    assert "trian" in result.stderr


@pytest.mark.parametrize("command", ["train", "sft"])
def test_help_is_grouped_by_topic_with_defaults(command: str) -> None:
    text = call(command, "--help").stdout
    for topic in ("Model", "Data", "Steps", "Optimizer", "Adapter (LoRA)", "Output", "Config file"):
        assert f"─ {topic} ─" in text
    assert "--batch-size" in text
    assert "[default: 64]" in text
    assert "--lora/--no-lora" in text
    assert "Default: off." in text
    assert ("--beta" in text) == (command == "train")  # sft takes none


def test_help_of_a_loss_option_names_its_methods_and_their_default() -> None:
    text = " ".join(call("train", "--help").stdout.replace("│", " ").split())
    assert "Reward per nat of logratio (0.1: dpo, " in text
    assert "Probability that a label is flipped (0: dpo, " in text
    assert "off: ipo" in text


def _fail(*_: object, **__: object) -> None:
    raise TrainingError("step 3: the loss is no number any more.")


def _interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_what_fails_on_the_way_exits_with_1_and_no_traceback(
    model_folder: Path, pairs_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "_train", _fail)
    result = call(*tune(model_folder, pairs_file, tmp_path / "run"))
    assert result.exit_code == 1
    assert result.stderr == "Error: step 3: the loss is no number any more.\n"


@pytest.mark.parametrize("how", ["flag", "environment"])
def test_a_traceback_is_shown_to_whoever_asks(
    how: str, model_folder: Path, pairs_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "_train", _fail)
    if how == "environment":
        monkeypatch.setenv("PREFTUNE_TRACEBACK", "1")
    result = call(*tune(model_folder, pairs_file, tmp_path / "run", *(["--traceback"] if how == "flag" else [])))
    assert result.exit_code == 1
    assert "Traceback" in result.stderr
    assert "in _fail" in result.stderr


def test_an_interrupted_run_exits_with_130(
    model_folder: Path, pairs_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "_train", _interrupt)
    result = call(*tune(model_folder, pairs_file, tmp_path / "run"))
    assert result.exit_code == 130
    assert "Traceback" not in result.stderr


def test_only_the_main_process_tells_what_was_asked_for_wrongly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "RANK", "1")
    result = call("train", "--method", "nonsense")
    assert (result.exit_code, result.output) == (2, "")
