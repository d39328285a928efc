import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from preftune.errors import ConfigError, SaveError
from preftune.runs.folder import RunFolder
from preftune.runs.result import RunResult
from preftune.runs.run import train
from preftune.settings import TrainConfig
from tests.training.health.world import friendly_pairs, run, swapped

FALLING: dict[str, Any] = {"epochs": 4, "learning_rate": 1e-2, "keep": "best"}
"""Held-out labels are swapped, so that every evaluation is worse than the one before."""


def falling(model: Path, folder: Path, **settings: Any) -> RunResult:
    rows = friendly_pairs(48, 1, noise=0.3), swapped(friendly_pairs(32, 2, noise=0.3))
    return run(model, folder, *rows, **{**FALLING, **settings})


def weights(folder: Path, file: str = "model.safetensors") -> dict[str, torch.Tensor]:
    return dict(load_file(folder / file))


def assert_equal(first: Mapping[str, torch.Tensor], second: Mapping[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    for name, weight in first.items():
        torch.testing.assert_close(second[name], weight, rtol=0, atol=0)


def values(folder: Path, name: str) -> dict[int, float]:
    """A held-out metric by step."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line[f"eval_{name}"] for line in lines if f"eval_{name}" in line}


def test_the_model_is_that_of_the_best_evaluation_and_the_table_says_so(model_folder: Path, tmp_path: Path) -> None:
    result = falling(model_folder, tmp_path, metric="loss")
    folder = tmp_path / "run"
    assert result.num_steps == 24
    assert result.kept is not None
    assert (result.kept.metric, result.kept.step) == ("loss", 6)
    found = values(folder, "loss")
    assert result.kept.value == found[6] == min(value for step, value in found.items() if step)
    assert result.kept.at_start == found[0]
    assert_equal(weights(folder), weights(folder / "checkpoint-6"))
    assert {path.name for path in folder.glob("checkpoint-*")} == {"checkpoint-6", "checkpoint-24"}
    assert "kept, by held-out loss" in [str(cell) for cell in result.table().columns[0].cells]
    assert json.loads((folder / "summary.json").read_text())["kept"]["step"] == 6


def test_the_last_weights_are_kept_by_default(model_folder: Path, tmp_path: Path) -> None:
    result = falling(model_folder, tmp_path, keep="last")
    assert result.kept is None
    assert_equal(weights(tmp_path / "run"), weights(tmp_path / "run" / "checkpoint-24"))


def test_accuracy_is_what_pairs_are_chosen_by(model_folder: Path, tmp_path: Path) -> None:
    result = run(model_folder, tmp_path, friendly_pairs(48, 1), friendly_pairs(32, 2), keep="best", epochs=3)
    assert result.kept is not None
    assert result.kept.metric == "rewards/accuracies"
    found = values(tmp_path / "run", "rewards/accuracies")
    assert result.kept.value == max(value for step, value in found.items() if step)


@pytest.mark.parametrize("begins_with_adapter", [False, True])
def test_adapters_are_kept_too(model_folder: Path, tmp_path: Path, begins_with_adapter: bool) -> None:
    model = model_folder
    lora: dict[str, Any] = {"lora": True, "lora_rank": 4, "learning_rate": 1e-2}
    if begins_with_adapter:
        (tmp_path / "first").mkdir()
        run(model_folder, tmp_path / "first", friendly_pairs(16, 3), method="sft", **lora)
        model = tmp_path / "first" / "run"
    result = falling(model, tmp_path, metric="loss", **lora)
    assert result.kept is not None
    assert result.kept.step == 6
    folder = tmp_path / "run"
    file = "adapter_model.safetensors"
    of_checkpoint = next(
        path for path in [folder / "checkpoint-6" / "default", folder / "checkpoint-6"] if path.is_dir()
    )
    assert_equal(weights(folder, file), weights(of_checkpoint, file))


def test_a_run_without_a_new_best_ends_early(model_folder: Path, tmp_path: Path) -> None:
    result = falling(model_folder, tmp_path, metric="loss", early_stopping=2)
    assert result.num_steps == 18  # the best at 6, none at 12 and 18
    assert not result.stopped_early
    assert result.kept is not None
    assert_equal(weights(tmp_path / "run"), weights(tmp_path / "run" / "checkpoint-6"))


def test_a_resumed_run_continues_counting_and_finds_the_best_in_a_moved_folder(
    model_folder: Path, tmp_path: Path
) -> None:
    falling(model_folder, tmp_path, metric="loss", early_stopping=2, keep_checkpoints=9)
    moved = tmp_path / "moved"
    shutil.move(tmp_path / "run", moved)
    shutil.rmtree(moved / "checkpoint-18")
    (moved / "model.safetensors").unlink()
    assert RunFolder(moved).last_checkpoint() == moved / "checkpoint-12"
    resumed = train(TrainConfig.read(moved / "config.yaml", resume=True, output=str(moved)))
    assert resumed.num_steps == 18
    assert resumed.kept is not None
    assert resumed.kept.step == 6
    assert_equal(weights(moved), weights(moved / "checkpoint-6"))


def test_a_missing_best_checkpoint_is_an_error(model_folder: Path, tmp_path: Path) -> None:
    falling(model_folder, tmp_path, metric="loss", keep_checkpoints=9)
    for name in ("checkpoint-6", "checkpoint-24"):
        shutil.rmtree(tmp_path / "run" / name)
    (tmp_path / "run" / "summary.json").unlink()
    config = TrainConfig.read(tmp_path / "run" / "config.yaml", resume=True)
    with pytest.raises(SaveError, match=r"checkpoint-6: does not exist, but step 6 was the best by loss"):
        train(config)


class WinRate:
    """A measure of one's own: here it falls by the evaluation."""

    def __init__(self) -> None:
        self.num_calls = 0

    def __call__(self, model: nn.Module) -> Mapping[str, float]:
        assert not model.training
        self.num_calls += 1
        return {"win_rate": 1 / self.num_calls}


def test_a_measure_of_ones_own_may_choose(model_folder: Path, tmp_path: Path) -> None:
    measure = WinRate()
    result = falling(
        model_folder,
        tmp_path,
        metric="win_rate:lower",
        trained=lambda config: train(config, measures=[measure]),
    )
    assert result.kept is not None
    assert (result.kept.metric, result.kept.step) == ("win_rate", 24)
    assert result.kept.at_start == 1.0
    assert values(tmp_path / "run", "win_rate") == {0: 1.0, 6: 1 / 2, 12: 1 / 3, 18: 1 / 4, 24: 1 / 5}


def test_a_metric_that_nothing_measures_ends_the_run_at_its_first_evaluation(
    model_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"metric = win_rate: nothing measures it. Set metric to one .*loss"):
        falling(model_folder, tmp_path, metric="win_rate:higher")
    assert values(tmp_path / "run", "loss").keys() == {0}
