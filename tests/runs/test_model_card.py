"""The files that one would upload."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from preftune.runs.model_card import ModelCard
from preftune.runs.run import train
from tests.runs.inputs import config_of

KINDS: dict[str, dict[str, Any]] = {"full": {"eval_fraction": 0.3}, "lora": {"lora": True}, "sft": {"method": "sft"}}


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_leaves_a_card_of_its_facts_and_files_that_others_can_read(
    model_folder: Path, pairs_file: Path, tmp_path: Path, kind: str
) -> None:
    train(config_of(model_folder, pairs_file, tmp_path / "run", max_steps=2, **KINDS[kind]))
    card = (tmp_path / "run" / "README.md").read_text()
    front = yaml.safe_load(card.split("---")[1])
    assert front["library_name"] == ("peft" if kind == "lora" else "transformers")
    assert "base_model" not in front
    assert "More Information Needed" not in card
    assert str(model_folder) not in card
    assert f"method `{'sft' if kind == 'sft' else 'dpo'}`" in card
    assert " pairs, " in card
    if kind == "full":
        assert "beta | 0.1" in card
        assert "held-out" in card
    assert_clean(tmp_path / "run")
    assert_clean(tmp_path / "run" / "checkpoint-2")
    assert not (tmp_path / "run" / "checkpoint-2" / "README.md").exists()


def test_a_run_resumes_from_a_checkpoint_without_the_pickle(
    model_folder: Path, pairs_file: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shared: dict[str, Any] = {"lora": True, "max_steps": 4, "save_every": 2, "keep_checkpoints": 2}
    train(config_of(model_folder, pairs_file, run, **shared))
    weights = (run / "adapter_model.safetensors").read_bytes()
    for name in ("summary.json", "adapter_model.safetensors"):
        (run / name).unlink()
    shutil.rmtree(run / "checkpoint-4")
    assert not (run / "checkpoint-2" / "training_args.bin").exists()
    train(config_of(model_folder, pairs_file, run, resume=True, **shared))
    assert (run / "adapter_model.safetensors").read_bytes() == weights


def test_local_paths_stay_out_of_the_command(tmp_path: Path) -> None:
    (tmp_path / "sft").mkdir()
    card = ModelCard(
        title="dpo", about="A model.", command=("preftune", "train", f"--model={tmp_path / 'sft'}", "--data", "a/b")
    )
    assert "preftune train --model=sft --data a/b" in card.text()
    assert str(tmp_path) not in card.text()


def test_a_card_that_somebody_wrote_stays(tmp_path: Path) -> None:
    card = ModelCard(title="dpo", about="A model.", facts={"steps": 2})
    card.write(tmp_path)
    replace(card, facts={"steps": 4}).write(tmp_path)
    assert "| steps | 4 |" in (tmp_path / "README.md").read_text()
    (tmp_path / "README.md").write_text("# Mine")
    card.write(tmp_path)
    assert (tmp_path / "README.md").read_text() == "# Mine"


def assert_clean(folder: Path) -> None:
    """No arguments of the trainer as a pickle, and files that others can read."""
    assert not list(folder.glob("*.bin"))
    (folder.parent / "probe").touch()
    for file in folder.iterdir():
        if file.is_file() and not file.name.startswith("."):
            assert file.stat().st_mode == (folder.parent / "probe").stat().st_mode, file.name


def test_an_argument_longer_than_a_file_name_is_in_the_card_as_it_was_given(
    model_folder: Path, pairs_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    condition = "prompt != '" + "x" * 300 + "'"
    monkeypatch.setattr("sys.argv", ["preftune", "train", "--where", condition, "--data", str(pairs_file)])
    train(config_of(model_folder, pairs_file, tmp_path / "run", max_steps=1))
    text = (tmp_path / "run" / "README.md").read_text()
    assert "x" * 300 in text
    assert "--data pairs.jsonl" in text
