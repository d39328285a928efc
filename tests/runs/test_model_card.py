"""The files that one would upload."""

from pathlib import Path
from typing import Any

import pytest
import yaml

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
    assert not list((tmp_path / "run").glob("*.bin"))
    (tmp_path / "probe").touch()
    for file in (tmp_path / "run").iterdir():
        if file.is_file() and not file.name.startswith("."):
            assert file.stat().st_mode == (tmp_path / "probe").stat().st_mode, file.name


def test_an_argument_longer_than_a_file_name_is_in_the_card_as_it_was_given(
    model_folder: Path, pairs_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    condition = "prompt != '" + "x" * 300 + "'"
    monkeypatch.setattr("sys.argv", ["preftune", "train", "--where", condition, "--data", str(pairs_file)])
    train(config_of(model_folder, pairs_file, tmp_path / "run", max_steps=1))
    text = (tmp_path / "run" / "README.md").read_text()
    assert "x" * 300 in text
    assert "--data pairs.jsonl" in text
