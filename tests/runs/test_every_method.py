"""Every method, from a file of its feedback to a trained model, as the command line runs it."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from preftune.losses import LOSSES, Feedback
from preftune.metrics.catalogue import find_metric
from preftune.runs.manifest import write_manifest
from preftune.runs.run import train
from preftune.settings import TrainConfig
from tests.runs.inputs import write_model

DEFAULTS: dict[str, Any] = {
    "batch_size": 64,
    "epochs": 12,
    "learning_rate": 3e-3,
    "precision": "fp32",
    "report_to": "none",
    "eval_samples": 0,
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    return write_model(tmp_path_factory.mktemp("model"))


def answers(number: int) -> list[str]:
    """From best to worst."""
    return [f" It is {2 * number}.", f" Maybe {2 * number}?", f" It is {2 * number + 1}."]


def rows(feedback: Feedback) -> Iterator[dict[str, Any]]:
    for number in range(1, 13):
        prompt = f"What is {number}+{number}?"
        best, middling, worst = answers(number)
        match feedback:
            case "pairs":
                yield {"prompt": prompt, "chosen": best, "rejected": worst, "margin": 2.0}
            case "thumbs":
                yield {"prompt": prompt, "completion": best, "label": True}
                yield {"prompt": prompt, "completion": worst, "label": False}
            case "lists":
                yield {"prompt": prompt, "completions": [worst, best, middling], "scores": [0.0, 2.0, 1.0]}
            case "demonstrations":
                yield {"prompt": prompt, "completion": best}


def logs_of(name: str, model: Path, folder: Path, **settings: Any) -> list[dict[str, Any]]:
    data = folder / "data.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows(LOSSES[name].feedback)))
    config = TrainConfig.of(
        method=name,
        model=str(model),
        data=str(data),
        output=str(folder / "run"),
        **{**DEFAULTS, **settings},
    )
    train(config)
    return [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]


def run(name: str, model: Path, folder: Path, **settings: Any) -> list[float]:
    return [line["loss"] for line in logs_of(name, model, folder, **settings) if "loss" in line]


@pytest.mark.parametrize("name", ["dpo", "kto", "plackett_luce", "sft"])
def test_every_logged_metric_is_in_the_catalogue(name: str, model: Path, tmp_path: Path) -> None:
    settings = {"epochs": 1, "batch_size": 4, "eval_fraction": 0.5, "eval_samples": 2, "eval_kl": name != "sft"}
    logged = {key for line in logs_of(name, model, tmp_path, **settings) for key in line}
    assert "eval_samples/entropy" in logged
    assert [key for key in sorted(logged) if find_metric(key) is None] == []


@pytest.mark.parametrize("name", LOSSES)
def test_its_loss_falls_in_a_run(name: str, model: Path, tmp_path: Path) -> None:
    losses = run(name, model, tmp_path)
    assert losses[-1] < losses[0]


def test_a_sum_trains_and_logs_each_part(model: Path, tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows("pairs")))
    part_options: dict[str, Any] = {"bco_pair.beta": 0.3}
    config = TrainConfig.of(
        method="0.8*dpo + 0.2*bco_pair + preferred_ft",
        model=str(model),
        data=str(data),
        output=str(tmp_path / "run"),
        batch_size=64,
        max_steps=2,
        precision="fp32",
        report_to="none",
        eval_samples=0,
        **part_options,
    )
    train(config)
    first = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[0])
    parts = {name: first[f"loss/{name}"] for name in ("dpo", "bco_pair", "preferred_ft")}
    total = 0.8 * parts["dpo"] + 0.2 * parts["bco_pair"] + parts["preferred_ft"]
    assert first["loss"] == pytest.approx(total, rel=1e-6)
    assert "bco_pair.beta: 0.3" in (tmp_path / "run" / "config.yaml").read_text()
    assert TrainConfig.read(tmp_path / "run" / "config.yaml").method.options["dpo.beta"] == 0.1


def test_a_run_with_a_running_mean_resumes_exactly(model: Path, tmp_path: Path) -> None:
    settings = {"batch_size": 8, "epochs": 2, "save_every": 2, "keep_checkpoints": 9, "seed": 3}
    expected = run("bco", model, tmp_path, **settings)
    for checkpoint in (tmp_path / "run").glob("checkpoint-*"):
        if checkpoint.name != "checkpoint-2":
            shutil.rmtree(checkpoint)
    (tmp_path / "run" / "summary.json").unlink()  # as if killed
    found = run("bco", model, tmp_path, **settings, resume=True)
    assert len(expected) > 3
    assert found[-(len(expected) - 2) :] == expected[2:]


def test_the_running_mean_is_what_the_resumed_run_depends_on(model: Path, tmp_path: Path) -> None:
    settings = {"batch_size": 8, "epochs": 2, "save_every": 2, "keep_checkpoints": 9, "seed": 3}
    expected = run("bco", model, tmp_path, **settings)
    for checkpoint in (tmp_path / "run").glob("checkpoint-*"):
        if checkpoint.name != "checkpoint-2":
            shutil.rmtree(checkpoint)
    (tmp_path / "run" / "summary.json").unlink()  # as if killed
    state = tmp_path / "run" / "checkpoint-2" / "trainer_state.json"
    kept = json.loads(state.read_text())
    kept["stateful_callbacks"]["LossStates"]["attributes"]["_states"]["bco"] = [100.0, 1.0]
    state.write_text(json.dumps(kept))
    write_manifest(state.parent)
    found = run("bco", model, tmp_path, **settings, resume=True)
    assert found[-(len(expected) - 2) :] != expected[2:]
