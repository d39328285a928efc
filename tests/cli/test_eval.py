import json
from pathlib import Path

import pytest

from preftune.cli import eval as module
from preftune.evaluation.result import EvaluationResult
from tests.cli.command_line import call, error_of, tune
from tests.runs.inputs import write_model

QUICK = ("--resamples", "50", "--max-new-tokens", "6")


@pytest.fixture(scope="module")
def run_folder(model_folder: Path, pairs_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    result = call(*tune(model_folder, pairs_file, folder, "--eval-fraction", "0.5", "--beta", "0.2"))
    assert result.exit_code == 0, result.output
    return folder


def test_a_run_needs_no_further_word(run_folder: Path) -> None:
    result = call("eval", "--model", run_folder, *QUICK)
    assert result.exit_code == 0, result.output
    for text in ("implicit reward: 0.2 x logratio", "expected calibration error", "Parts of the pairs", "95% interval"):
        assert text in result.stdout
    assert f"result: {run_folder / 'evaluation.json'}" in result.stdout
    assert result.stdout.rstrip().endswith(f"report: {run_folder / 'report.html'}")
    found = EvaluationResult.read(run_folder / "evaluation.json")
    assert found.preferences is not None
    assert found.samples is None


def test_everything_at_once_is_shown_and_written(
    run_folder: Path, pairs_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "short_judge.py").write_text("def prefers(prompt, first, second):\n    return 'tie'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    output = tmp_path / "result.json"
    arguments: list[str | Path] = [
        *("--data", pairs_file, "--samples", "2", "--judge", "python:short_judge:prefers", "--best-of", "3"),
        *("--temperature", "0.5", "--temperature", "1", "--confidence", "0.9", "--bins", "5", "--json", output),
    ]
    result = call("eval", "--model", run_folder, *arguments, *QUICK)
    assert result.exit_code == 0, result.output
    for text in (
        "KL to the reference, nats",
        "length drift, tokens",
        "temperature 0.5: win rate",
        "orders contradict",
        "Best of 3 from the reference",
        "90% interval",
    ):
        assert text in result.stdout
    values = json.loads(output.read_text())
    assert [rate["rate"]["value"] for rate in values["win_rates"]] == [0.5, 0.5]
    assert "exists already" in error_of("eval", "--model", run_folder, *arguments, *QUICK)


def test_invalid_settings_are_reported_at_once(model_folder: Path) -> None:
    error = error_of("eval", "--model", model_folder, "--beta", "-1", "--judge", "someone", "--bins", "none")
    for problem in ("beta = -1", "judge = someone: must be openai:MODEL", "bins = 'none'"):
        assert problem in error
    assert "data: is not given" in error_of("eval", "--model", model_folder)
    assert "model: is not given." in error_of("eval", "--data", "held.jsonl")


def test_a_function_that_is_not_there_is_an_error_of_the_judge(run_folder: Path) -> None:
    result = call("eval", "--model", run_folder, "--judge", "python:no_such_module:f", *QUICK)
    assert result.exit_code == 1
    assert "judge = python:no_such_module:f: cannot be imported." in result.stderr


def test_ctrl_c_says_that_nothing_is_lost(run_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "impatient_judge.py").write_text("def prefers(prompt, first, second):\n    raise KeyboardInterrupt\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    result = call("eval", "--model", run_folder, "--judge", "python:impatient_judge:prefers", *QUICK)
    assert result.exit_code == 130
    assert "the same command continues from there" in result.stdout


def test_help_is_grouped_by_topic() -> None:
    text = call("eval", "--help").stdout
    for topic in ("Model", "Data", "Reference", "Samples", "Judge", "Intervals", "Memory", "Result"):
        assert f"─ {topic} ─" in text
    for flag in ("--judge-prompt", "--best-of", "--temperature", "--against"):
        assert flag in text
    assert module.command.name == "eval"


def test_the_default_length_of_samples_fits_the_positions_of_the_model(pairs_file: Path, tmp_path: Path) -> None:
    small = write_model(tmp_path / "small", num_hidden_layers=1, max_position_embeddings=64)
    arguments = ("eval", "--model", small, "--data", pairs_file, "--reference", "none", "--samples", "1")
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    assert "max_new_tokens: 32, half of the model's positions" in result.stdout
    assert "max_new_tokens = 64: the model has positions for 64" in error_of(*arguments, "--max-new-tokens", "64")
