"""Inputs of a run: all that is missing is told at once, and a resumed run goes on with the same or not at all."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file, save_file

from preftune.errors import ConfigError, DataError, ModelError
from preftune.runs.inputs import check_inputs
from preftune.runs.run import train
from preftune.settings import TrainConfig
from preftune.settings.packages import LOGGERS
from tests.cli.command_line import call
from tests.compat.runs import config_of as compat_config
from tests.runs.inputs import config_of, history, write_model, write_pairs

MISSING = [name for name in ("wandb", "mlflow", "trackio", "swanlab") if name in LOGGERS]


@pytest.mark.parametrize("name", MISSING)
def test_a_logger_that_is_not_installed_is_told_before_anything_loads(
    model_folder: Path, pairs_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("preftune.settings.packages.find_spec", lambda package: None if package == name else object())
    config = config_of(model_folder, pairs_file, tmp_path / "run", report_to=[name, "tensorboard"])
    with pytest.raises(
        ConfigError, match=rf"report_to = {name}: needs {name}, which is not installed\. Run `pip install {name}`"
    ):
        train(config)
    assert not (tmp_path / "run").exists()


def test_unknown_loggers_and_none_beside_others_are_settings_that_cannot_work(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Did you mean wandb"):
        config_of(tmp_path, tmp_path, tmp_path, report_to="wanb")
    with pytest.raises(ConfigError, match="none and others contradict"):
        config_of(tmp_path, tmp_path, tmp_path, report_to=["none", "wandb"])


def test_all_that_is_missing_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("preftune.settings.packages.find_spec", lambda _package: None)
    for model in ("./nomodel", "nomodel"):
        result = call(
            "train", "--model", model, "--reference-model", "./noreference", "--data", "no.jsonl", "--eval-data",
            "nor.jsonl", "--chat-template", "no.jinja", "--report-to", "wandb", "--output", tmp_path / "run",
        )  # fmt: skip
        assert result.exit_code == 2
        for text in (
            "report_to = wandb: needs wandb, which is not installed", f"model = {model}: there is no such folder",
            "reference_model = ./noreference: there is no such folder", "chat_template = no.jinja: there is no such",
            "no.jsonl: there is no such file", "nor.jsonl: there is no such file",
        ):  # fmt: skip
            assert text in result.stderr
        assert "6 settings cannot work" in result.stderr
    assert not (tmp_path / "run").exists()


def test_one_missing_input_keeps_its_kind_of_error(model_folder: Path, pairs_file: Path, tmp_path: Path) -> None:
    check_inputs(config_of(model_folder, pairs_file, tmp_path))
    with pytest.raises(DataError):
        check_inputs(config_of(model_folder, tmp_path / "no.jsonl", tmp_path))
    with pytest.raises(ModelError):
        check_inputs(config_of(tmp_path / "no", pairs_file, tmp_path))


RUNS: dict[str, dict[str, Any]] = {
    "full": {},
    "lora": {"lora": True},
    "sft": {"method": "sft"},
    "kto": {"method": "kto"},
}


@pytest.mark.parametrize("kind", RUNS)
@pytest.mark.parametrize("max_steps", [1, 2, 3, 5])
def test_a_run_that_has_ended_has_nothing_to_do(pairs_file: Path, tmp_path: Path, kind: str, max_steps: int) -> None:
    """Three steps an epoch, so that the last step lies inside of one or at its end."""
    if kind == "kto" and max_steps != 2:
        pytest.skip("one length suffices")
    model = write_model(tmp_path / "model")
    settings = {"max_steps": max_steps, "schedule": "constant", "save_every": 1, "learning_rate": 1e-2, **RUNS[kind]}
    first = train(config_of(model, pairs_file, tmp_path / "run", **settings))
    names = ("model.safetensors", "adapter_model.safetensors")
    file = next(tmp_path / "run" / name for name in names if (tmp_path / "run" / name).is_file())
    weights, lines = file.read_bytes(), (tmp_path / "run" / "metrics.jsonl").read_text()
    console = Console(record=True, width=200)
    again = train(config_of(model, pairs_file, tmp_path / "run", resume=True, **settings), console=console)
    assert "nothing to do: the run" in console.export_text()
    assert again == first
    assert file.read_bytes() == weights
    assert (tmp_path / "run" / "metrics.jsonl").read_text() == lines
    (tmp_path / "run" / "summary.json").unlink()  # killed before its end was written
    file.unlink()
    result = train(config_of(model, pairs_file, tmp_path / "run", resume=True, **settings))
    assert result.num_steps == max_steps
    assert history(tmp_path / "run", "step")[-1] == max_steps
    before, after = load_file_of(weights, tmp_path), load_file(file)
    assert all(torch.equal(before[name], after[name]) for name in before)


def load_file_of(content: bytes, folder: Path) -> dict[str, torch.Tensor]:
    (folder / "before.safetensors").write_bytes(content)
    return load_file(folder / "before.safetensors")


def interrupted(model: Path, data: Path, output: Path, **settings: Any) -> dict[str, Any]:
    """Settings of a run that was killed after its first checkpoint."""
    given = {"max_steps": 4, "save_every": 2, "keep_checkpoints": 4, **settings}
    train(config_of(model, data, output, **given))
    (output / "summary.json").unlink()
    shutil.rmtree(output / "checkpoint-4")
    return given


def change_a_row(file: Path) -> None:
    rows = file.read_text().splitlines(keepends=True)
    file.write_text("".join([rows[0].replace("It is 2.", "It is 3."), *rows[1:]]))


CHANGES: dict[str, Any] = {
    "fewer rows": lambda file: file.write_text("".join(file.read_text().splitlines(keepends=True)[:-2])),
    "more rows": lambda file: write_pairs(file, 14),
    "another row": change_a_row,
    "another order": lambda file: file.write_text("".join(reversed(file.read_text().splitlines(keepends=True)))),
    "sides swapped": lambda file: file.write_text(
        file.read_text().replace("chosen", "x").replace("rejected", "chosen").replace('"x"', '"rejected"')
    ),
}


@pytest.fixture(scope="module")
def resumable(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    """A run that was killed, to be resumed."""
    folder = tmp_path_factory.mktemp("resumable")
    data, held_out = write_pairs(folder / "pairs.jsonl"), write_pairs(folder / "held-out.jsonl", 8)
    settings = interrupted(model_folder, data, folder / "run", eval_data=str(held_out))
    return config_of(model_folder, data, folder / "run", resume=True, **settings)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("part", ["data", "eval_data"])
def test_data_that_changed_since_the_start_are_an_error(resumable: TrainConfig, change: str, part: str) -> None:
    file = Path(resumable.output.output).parent / ("pairs.jsonl" if part == "data" else "held-out.jsonl")
    before = file.read_bytes()
    CHANGES[change](file)
    name = "training data" if part == "data" else "held-out data"
    with pytest.raises(ConfigError, match=f"{name}: the content.*has changed since the run began") as found:
        train(resumable)
    assert len(found.value.problems) == 1
    file.write_bytes(before)


def test_files_written_anew_with_the_same_rows_are_the_same(model_folder: Path, tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "pairs.jsonl")
    settings = interrupted(model_folder, data, tmp_path / "run")
    rows = [json.loads(line) for line in data.read_text().splitlines()]
    data.write_text("".join(json.dumps({"note": 1, **row}, indent=None) + "\n\n" for row in rows))
    assert train(config_of(model_folder, data, tmp_path / "run", resume=True, **settings)).num_steps == 4


@pytest.mark.parametrize("kind", RUNS)
def test_a_model_that_changed_since_the_start_is_an_error(pairs_file: Path, tmp_path: Path, kind: str) -> None:
    model = write_model(tmp_path / "model")
    settings = interrupted(model, pairs_file, tmp_path / "run", **RUNS[kind])
    weights = load_file(model / "model.safetensors")
    weights["model.norm.weight"] *= 1.5
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ConfigError, match="model: the content has changed since the run began"):
        train(config_of(model, pairs_file, tmp_path / "run", resume=True, **settings))


def test_a_reference_model_that_changed_is_named(model_folder: Path, pairs_file: Path, tmp_path: Path) -> None:
    other = write_model(tmp_path / "other")
    settings = interrupted(model_folder, pairs_file, tmp_path / "run", reference_model=str(other))
    write_model(other, hidden_size=32)
    with pytest.raises(ConfigError, match=r"^reference model: the content has changed"):
        train(config_of(model_folder, pairs_file, tmp_path / "run", resume=True, **settings))


def test_runs_of_earlier_versions_can_be_resumed(model_folder: Path, tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "pairs.jsonl")
    settings = interrupted(model_folder, data, tmp_path / "run")
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert set(record.pop("inputs")) == {"training data", "held-out data", "model"}
    (tmp_path / "run" / "run.json").write_text(json.dumps(record))
    assert train(config_of(model_folder, data, tmp_path / "run", resume=True, **settings)).num_steps == 4


def test_the_pace_of_a_resumed_run_counts_what_is_left(model_folder: Path, pairs_file: Path, tmp_path: Path) -> None:
    settings = {"max_steps": 6, "save_every": 2, "keep_checkpoints": 9}
    train(config_of(model_folder, pairs_file, tmp_path / "run", **settings))
    (tmp_path / "run" / "summary.json").unlink()
    for step in (4, 6):
        shutil.rmtree(tmp_path / "run" / f"checkpoint-{step}")
    console = Console(record=True, width=200)
    train(config_of(model_folder, pairs_file, tmp_path / "run", resume=True, **settings), console=console)
    assert "for the 2 steps left" in console.export_text()


def test_configs_with_the_arguments_of_trl_tell_missing_loggers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("preftune.settings.packages.find_spec", lambda _package: None)
    for given in ("wandb", ["wandb"]):
        with pytest.raises(ConfigError, match="report_to = wandb: needs wandb, which is not installed"):
            compat_config(tmp_path, report_to=given)
