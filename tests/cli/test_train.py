"""Runs from the command line."""

import json
from pathlib import Path

import pytest
import yaml

from preftune.runs.folder import RunFolder
from preftune.runs.result import RunResult
from preftune.settings import TrainConfig
from tests.cli.command_line import call, error_of, tune
from tests.runs.inputs import history
from tests.training.health.world import friendly_pairs, write_rows


@pytest.fixture(scope="session")
def run_folder(model_folder: Path, pairs_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "dpo"
    result = call(*tune(model_folder, pairs_file, folder, "--beta", "0.5"))
    assert result.exit_code == 0, result.output
    assert "rewards/accuracies" in result.stdout
    assert f"preftune generate --model {folder}" in result.stdout
    assert result.stderr == ""
    return folder


def test_a_run_starts_at_ln_2_and_leaves_a_model(run_folder: Path) -> None:
    assert history(run_folder)[0] == pytest.approx(0.6931, abs=1e-4)
    assert (run_folder / "model.safetensors").is_file()
    assert (run_folder / "tokenizer.json").is_file()


def test_the_written_config_repeats_the_run(run_folder: Path, tmp_path: Path) -> None:
    assert call("train", "--config", run_folder / "config.yaml", "--output", tmp_path / "again").exit_code == 0
    assert history(tmp_path / "again") == pytest.approx(history(run_folder), rel=1e-6, abs=1e-8)


def test_print_config_gives_a_file_that_gives_the_same_config(
    model_folder: Path, pairs_file: Path, tmp_path: Path
) -> None:
    flags = ["--beta", "0.3", "--columns", "chosen=better", "--lora", "--no-shuffle", "--max-steps", "7"]
    printed = call(*tune(model_folder, pairs_file, tmp_path / "run", *flags, "--print-config")).stdout
    (tmp_path / "config.yaml").write_text(printed)
    config = TrainConfig.read(tmp_path / "config.yaml")
    assert config.method.options["beta"] == 0.3
    assert config.data.columns == {"chosen": "better"}
    assert (config.adapter.lora, config.steps.shuffle, config.steps.max_steps) == (True, False, 7)
    assert call("train", "--config", tmp_path / "config.yaml", "--print-config").stdout == printed
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("budget", ["auto", 4096])
def test_the_token_budget_is_given_as_a_number_or_as_auto(
    model_folder: Path, pairs_file: Path, tmp_path: Path, budget: str | int
) -> None:
    flags = ["--max-tokens-per-microbatch", str(budget), "--print-config"]
    printed = call(*tune(model_folder, pairs_file, tmp_path / "run", *flags)).stdout
    assert yaml.safe_load(printed)["max_tokens_per_microbatch"] == budget


def test_flags_override_the_file_and_defaults_do_not(run_folder: Path) -> None:
    printed = call("train", "--config", run_folder / "config.yaml", "--seed", "5", "--print-config").stdout
    settings = yaml.safe_load(printed)
    assert (settings["seed"], settings["beta"], settings["batch_size"]) == (5, 0.5, 3)


def test_sft_trains_by_sft_and_says_what_comes_next(model_folder: Path, pairs_file: Path, tmp_path: Path) -> None:
    result = call(*tune(model_folder, pairs_file, tmp_path / "sft", "--max-steps", "1", command="sft"))
    assert result.exit_code == 0, result.output
    assert f"preftune train --model {tmp_path / 'sft'} --data PAIRS" in result.stdout
    assert yaml.safe_load((tmp_path / "sft" / "config.yaml").read_text())["method"] == "sft"


def test_sft_refuses_the_config_of_another_method(run_folder: Path) -> None:
    assert "`preftune sft` trains by sft only" in error_of("sft", "--config", run_folder / "config.yaml")


def test_a_run_that_was_stopped_says_how_to_resume_and_exits_with_130(
    model_folder: Path, pairs_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = RunResult(
        folder="run",
        num_steps=1,
        train={},
        held_out={},
        seconds=1.0,
        peak_memory_bytes=0,
        num_tokens=1,
        data={},
        stopped_early=True,
    )
    monkeypatch.setattr("preftune.runs.run.train", lambda *_, **__: stopped)
    result = call(*tune(model_folder, pairs_file, tmp_path / "run"))
    assert result.exit_code == 130
    assert f"preftune train --config {tmp_path / 'run' / 'config.yaml'} --resume" in result.stdout


def test_a_run_begun_with_overwrite_can_be_resumed_by_its_config(
    model_folder: Path, pairs_file: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    first = tune(model_folder, pairs_file, folder, "--max-steps", "1", "--save-every", "1", "--overwrite")
    assert call(*first).exit_code == 0
    (folder / "summary.json").unlink()  # killed before its end was written
    result = call("train", "--config", folder / "config.yaml", "--resume")
    assert result.exit_code == 0, result.output
    assert "resuming from checkpoint-1" in result.stdout


def test_resume_refuses_changed_settings(run_folder: Path) -> None:
    error = error_of("train", "--config", run_folder / "config.yaml", "--resume", "--beta", "0.2", "--seed", "3")
    assert "beta = 0.2: the run began with 0.5." in error
    assert "seed = 3: the run began with 0." in error


def test_a_folder_that_holds_a_run_is_not_overwritten(run_folder: Path) -> None:
    before = (run_folder / "metrics.jsonl").read_text()
    error = error_of("train", "--config", run_folder / "config.yaml")
    assert "already holds a run" in error
    assert "--resume" in error
    assert "--overwrite" in error
    assert (run_folder / "metrics.jsonl").read_text() == before


def test_summary_holds_the_numbers_of_the_table(run_folder: Path) -> None:
    summary = json.loads((run_folder / "summary.json").read_text())
    assert summary["num_steps"] == 2
    assert summary["train"]["loss"]["first"] == history(run_folder)[0]


def test_a_sick_run_exits_with_3_and_says_how_to_continue(model_folder: Path, tmp_path: Path) -> None:
    rows = Path(write_rows(tmp_path / "rows.jsonl", friendly_pairs(120, 1)))
    folder = tmp_path / "run"
    result = call(*tune(model_folder, rows, folder, "--learning-rate", "10", "--batch-size", "4", "--stop-on-sick"))
    assert result.exit_code == 3, result.output
    assert "health: sick at step" in result.stdout
    assert f"preftune train --config {folder / 'config.yaml'} --resume --no-stop-on-sick" in result.stdout
    assert RunFolder(folder).last_checkpoint() is not None
    assert not (folder / "model.safetensors").exists()


def test_without_the_flag_it_goes_to_its_end(model_folder: Path, tmp_path: Path) -> None:
    rows = Path(write_rows(tmp_path / "rows.jsonl", friendly_pairs(120, 1)))
    result = call(*tune(model_folder, rows, tmp_path / "run", "--learning-rate", "10", "--batch-size", "4"))
    assert result.exit_code == 0, result.output
    assert "health: sick at step" in result.stdout
    assert (tmp_path / "run" / "model.safetensors").is_file()
