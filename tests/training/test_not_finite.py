import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, TrainerCallback

from preftune.errors import TrainingError
from preftune.runs import run as run_module
from preftune.runs.folder import RunFolder
from preftune.training.health.finding import SickRunError
from preftune.training.not_finite import all_finite, stop_before_step
from tests.builders import tiny_llama, token_groups
from tests.training.health.world import friendly_pairs, run
from tests.training.test_trainer import frozen, trainer_of


def test_a_row_whose_weights_overflow_is_named_and_the_model_stays_good(model_folder: Path, tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = list(friendly_pairs(40, 1))
    rows[17]["chosen_weights"] = [[0, len(rows[17]["chosen"]), 3e38]]
    with pytest.raises(SickRunError, match=r"of its 8 rows 1 have log-probs .*: .*rows\.jsonl:18\. Lower"):
        run(model_folder, tmp_path, rows, epochs=1, save_every=1)
    folder = tmp_path / "run"
    kept = json.loads((folder / "health.json").read_text())["findings"]
    assert [finding["rule"] for finding in kept] == ["not_finite"]
    assert kept[0]["rows"] == [f"{tmp_path}/rows.jsonl:18"]
    assert not (folder / "model.safetensors").exists()
    last = RunFolder(folder).last_checkpoint()
    if kept[0]["step"]:
        assert last is not None
        weights = AutoModelForCausalLM.from_pretrained(last).state_dict().values()
        assert all_finite(weights).item()


def test_a_model_whose_weights_are_broken_is_told_from_a_broken_row(tmp_path: Path) -> None:
    model = tiny_llama()
    reference = frozen(model)
    with torch.no_grad():
        model.lm_head.weight[0, 0] = math.nan
    trainer = trainer_of(model, token_groups(4), tmp_path, reference=reference)
    with pytest.raises(SickRunError, match="the weights must be broken: random:"):
        trainer.train()


class Break(TrainerCallback):
    """Spoils a weight behind the optimizer's back."""

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        with torch.no_grad():
            kwargs["model"].lm_head.weight[0, 0] = math.inf


def test_broken_weights_are_never_saved(model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "ProgressDisplay", lambda _: Break())
    with pytest.raises(SickRunError, match="step 1: after it the weights are not finite, so they were not saved"):
        run(model_folder, tmp_path, friendly_pairs(8, 1), save_every=1)
    assert not list((tmp_path / "run").glob("**/*.safetensors"))
    assert RunFolder(tmp_path / "run").last_checkpoint() is None


def test_the_last_weights_are_checked_too(model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "ProgressDisplay", lambda _: Break())
    with pytest.raises(TrainingError, match="the weights are not finite"):
        run(model_folder, tmp_path, friendly_pairs(8, 1), max_steps=1, save_every=100)
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_large_values_whose_norm_overflows_are_finite() -> None:
    assert all_finite([torch.full((4,), 3e38)]).item()
    assert all_finite([torch.tensor([1, 2])]).item()
    assert not all_finite([torch.ones(2), torch.tensor([math.inf])]).item()


def test_a_gradient_that_overflows_names_all_rows_of_the_step() -> None:
    rows = [group.origin for group in token_groups(12)]
    error = stop_before_step(3, [], rows)
    assert "step 3: the gradient is not finite" in str(error)
    assert "random:8 and 4 more" in str(error)
    assert len(error.finding.rows) == 12


def test_the_loss_scaler_of_fp16_may_meet_gradients_that_are_not_finite(tmp_path: Path) -> None:
    model = tiny_llama()
    trainer = trainer_of(model, token_groups(4), tmp_path)
    trainer.args.fp16 = True
    step = next(iter(trainer.get_train_dataloader()))
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, math.inf)
    trainer._check_numbers(model, step, torch.tensor(0.5))
    trainer.args.fp16 = False
    with pytest.raises(SickRunError, match="the step itself went too far"):
        trainer._check_numbers(model, step, torch.tensor(0.5))
