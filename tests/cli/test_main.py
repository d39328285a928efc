import os
import subprocess
import sys
from pathlib import Path

import pytest

from preftune import __version__
from preftune.cli import train
from preftune.errors import TrainingError
from tests.cli.command_line import call, error_of, tune


def test_help_lists_every_subcommand_with_a_line() -> None:
    text = call("--help").stdout
    for name in ("demo", "sft", "train", "methods", "generate", "merge"):
        assert f" {name} " in text
    assert "Merge an adapter into its base model." in text


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


def words_of_help(*arguments: str) -> str:
    return " ".join(call(*arguments, "--help").stdout.replace("│", " ").split())


@pytest.mark.parametrize("command", ["train", "sweep"])
def test_plain_help_points_to_the_options_of_methods(command: str) -> None:
    text = words_of_help(command)
    assert not any(f" --{name} " in text for name in ("beta", "tau", "label-smoothing", "length-normalized"))
    assert "`preftune train --method NAME --help`" in text
    assert "`preftune methods` lists all" in text


@pytest.mark.parametrize("named", [["--method", "ipo"], ["--method=ipo"]])
def test_help_with_a_method_shows_its_options_with_its_own_defaults(named: list[str]) -> None:
    text = words_of_help("train", *named)
    assert "--tau " in text
    assert "[default: 0.1]" in text.partition("--tau ")[2]
    assert "--length-normalized/--no-length-normalized" in text
    assert "--beta " not in text
    assert "--batch-size" in text


def test_help_of_one_option_differs_with_the_method() -> None:
    defaults = [words_of_help("train", "--method", name).partition("--beta ")[2][:400] for name in ("dpo", "simpo")]
    assert "[default: 0.1]" in defaults[0]
    assert "[default: 0.1]" not in defaults[1].partition("[default: ")[1] + defaults[1].partition("[default: ")[2][:4]


def test_help_with_a_sum_shows_the_options_of_its_parts() -> None:
    text = words_of_help("train", "--method", "0.8*dpo + 0.2*ipo")
    assert "--beta " in text
    assert "--tau " in text


def test_help_with_an_unknown_method_names_the_nearest() -> None:
    assert "Did you mean simpo?" in error_of("train", "--method", "simpoo", "--help")


def test_help_of_sft_shows_nothing_about_preferences_or_a_reference() -> None:
    text = words_of_help("sft")
    assert not any(f" --{name} " in text for name in ("method", "beta", "pairing", "min-score-gap", "token-weights"))
    assert "--reference-" not in text
    assert "--auxiliary" not in text


def test_sft_refuses_options_that_its_help_does_not_show() -> None:
    named = ("sft", "--model", "m", "--data", "d", "--output", "o")
    assert "beta: not an option of method sft" in error_of(*named, "--beta", "0.1")
    assert "pairing = all: method sft learns from demonstrations" in error_of(*named, "--pairing", "all")


def _fail(*_: object, **__: object) -> None:
    raise TrainingError("step 3: the loss is not finite.")


def _interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_what_fails_on_the_way_exits_with_1_and_no_traceback(
    model_folder: Path, pairs_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "_train", _fail)
    result = call(*tune(model_folder, pairs_file, tmp_path / "run"))
    assert result.exit_code == 1
    assert result.stderr == "Error: step 3: the loss is not finite.\n"


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


def test_only_the_main_process_reports_an_invalid_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "RANK", "1")
    result = call("train", "--method", "nonsense")
    assert (result.exit_code, result.output) == (2, "")


def test_the_name_of_another_library_is_answered_with_the_flag_of_ours() -> None:
    error = error_of("train", "--model", "m", "--per_device_train_batch_size", "4")
    assert "--per_device_train_batch_size: there is no such option. Set --batch-size" in error


def test_markup_and_control_characters_in_names_are_shown_and_steer_nothing(tmp_path: Path) -> None:
    error = error_of("check", tmp_path / "a[/b]\x1b[31m:smile:.jsonl")
    assert "[/b]" in error.replace("\n", "")
    assert ":smile:" in error.replace("\n", "")
    assert "\x1b[31m" not in error


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_no_encoding_of_the_terminal_ends_a_command(tmp_path: Path, encoding: str) -> None:
    code = "from preftune.cli.main import main; from preftune.files.terminal import PlainConsole\n"
    code += "from preftune.files.terminal import accept_any_text; accept_any_text(); print('1 · 2 ± 3 … \\u732b')\n"
    code += "PlainConsole().print('4 · 5 \\u732b')"
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": encoding},
        check=True,
    )
    if encoding == "ascii":
        assert run.stdout.decode() == "1 - 2 +- 3 ... ?\n4 - 5 ?\n"
