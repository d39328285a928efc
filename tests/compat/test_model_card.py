"""Folders that the trainers with TRL's arguments save a model into."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from peft import LoraConfig

from preftune import DPOTrainer, KTOTrainer, SFTTrainer
from preftune.compat.tuning_trainer import TuningTrainer
from tests.compat.runs import lora, make_demonstrations, make_rows, make_thumbs, trainer_of

KINDS: dict[str, tuple[type[TuningTrainer], Any, dict[str, Any]]] = {
    "full": (DPOTrainer, make_rows, {"eval_dataset": make_rows(8, seed=1)}),
    "lora": (DPOTrainer, make_rows, {"peft_config": lora()}),
    "thumbs": (KTOTrainer, make_thumbs, {}),
    "sft": (SFTTrainer, make_demonstrations, {}),
}


def front_of(card: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(card.split("---")[1])
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_model_has_a_card_and_no_pickle(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    trainer_class, rows, arguments = KINDS[kind]
    settings = {"max_steps": 2, "save_strategy": "steps", "save_steps": 1}
    trainer = trainer_of(tmp_path, kind=trainer_class, rows=rows(16), **arguments, **settings)
    trainer.train()
    if kind == "full":
        trainer.evaluate()
    saved = tmp_path / "saved"
    trainer.save_model(str(saved))
    card = (saved / "README.md").read_text()
    assert front_of(card)["library_name"] == ("peft" if kind == "lora" else "transformers")
    assert "base_model" not in front_of(card)
    assert "More Information Needed" not in card
    assert "| steps | 2, batch size 8, learning rate 0.001 |" in card
    assert ("Held out: loss 0." in card) == (kind == "full")
    assert not list(saved.glob("*.bin"))
    for checkpoint in (tmp_path / "out").glob("checkpoint-*"):
        assert not (checkpoint / "README.md").exists()
    (tmp_path / "probe").touch()
    assert {file.stat().st_mode for file in saved.iterdir()} == {(tmp_path / "probe").stat().st_mode}


@pytest.mark.parametrize("adapter", [None, lora()])
def test_a_card_that_somebody_wrote_is_not_touched(adapter: LoraConfig | None, tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, peft_config=adapter)
    saved = tmp_path / "saved"
    saved.mkdir()
    (saved / "README.md").write_text("---\nlicense: mit\n---\n# Mine\n")
    trainer.save_model(str(saved))
    assert (saved / "README.md").read_text() == "---\nlicense: mit\n---\n# Mine\n"
