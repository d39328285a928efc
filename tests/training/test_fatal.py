"""Fatal states of a run."""

import copy
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaForCausalLM

from preftune.data.tokens.token_group import TokenGroup
from preftune.errors import TrainingError
from preftune.losses import LOSSES, Method
from preftune.metrics.sums import MetricSums
from preftune.model.forward.sequences import SequencesForward
from preftune.model.load.load_model import Policy
from preftune.model.reference.cached import Cached
from preftune.runs import run as run_module
from preftune.runs.folder import RunFolder
from preftune.runs.progress import ProgressDisplay
from preftune.runs.reference import cache_reference
from preftune.training.fatal import EXPECTED, all_finite, stop_before_step
from preftune.training.health.finding import SickRunError
from preftune.training.objective import Objective
from preftune.training.trainer import PreferenceTrainer
from tests.builders import tiny_llama, token_groups
from tests.training.conftest import Start
from tests.training.health.world import friendly_pairs, run
from tests.training.test_objective import groups_with_all_feedback
from tests.training.test_trainer import arguments, frozen, trainer_of
from tests.training.trainers import make_trainer


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


def test_broken_weights_are_distinguished_from_a_broken_row(tmp_path: Path) -> None:
    model = tiny_llama()
    reference = frozen(model)
    with torch.no_grad():
        model.lm_head.weight[0, 0] = math.nan
    trainer = trainer_of(model, token_groups(4), tmp_path, reference=reference)
    with pytest.raises(SickRunError, match="the weights must be broken: random:"):
        trainer.train()


class Break(ProgressDisplay):
    """Spoils a weight behind the optimizer's back."""

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        with torch.no_grad():
            kwargs["model"].lm_head.weight[0, 0] = math.inf


def test_broken_weights_are_never_saved(model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "ProgressDisplay", Break)
    with pytest.raises(SickRunError, match="step 1: after it the weights are not finite, so they were not saved"):
        run(model_folder, tmp_path, friendly_pairs(8, 1), save_every=1)
    assert not list((tmp_path / "run").glob("**/*.safetensors"))
    assert RunFolder(tmp_path / "run").last_checkpoint() is None


def test_the_last_weights_are_checked_too(model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "ProgressDisplay", Break)
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


WITH_REFERENCE = [name for name, loss in LOSSES.items() if loss.needs_reference]


def trainer_with_all_feedback(
    method: Method, model: LlamaForCausalLM, reference: LlamaForCausalLM, folder: Path
) -> PreferenceTrainer:
    groups: list[TokenGroup] = groups_with_all_feedback(6)
    return make_trainer(
        model,
        arguments(folder),
        objective=Objective(method, frozen(reference), SequencesForward()),
        train_groups=groups,
        batch_size=6,
        max_tokens_per_microbatch=10**6 if method.across_rows else 120,
        starts_at_reference=True,
    )


def first_step(trainer: PreferenceTrainer) -> float:
    assert trainer.model is not None
    return trainer.training_step(trainer.model, next(iter(trainer.get_train_dataloader()))).item()


def with_noise(model: LlamaForCausalLM, share: float) -> LlamaForCausalLM:
    """A copy with other last digits, as another kernel or order of sums would give them."""
    noisy = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in noisy.parameters():
            parameter.mul_(1 + share * torch.randn_like(parameter))
    return noisy


@pytest.mark.parametrize("name", WITH_REFERENCE)
def test_any_method_may_start_at_its_reference_to_within_rounding(name: str, tmp_path: Path) -> None:
    model = tiny_llama()
    assert math.isfinite(
        first_step(
            trainer_with_all_feedback(Method.named(name), copy.deepcopy(model), with_noise(model, 1e-5), tmp_path)
        )
    )


@pytest.mark.parametrize("name", WITH_REFERENCE)
def test_a_policy_that_is_not_its_reference_is_noticed_with_any_method(name: str, tmp_path: Path) -> None:
    model = tiny_llama()
    trainer = trainer_with_all_feedback(Method.named(name), model, with_noise(model, 0.3), tmp_path)
    with pytest.raises(SickRunError, match="before the first update the") as caught:
        first_step(trainer)
    assert caught.value.finding.severity == "fatal"


def test_a_sum_is_held_to_each_of_its_losses(tmp_path: Path) -> None:
    method = Method.named("dpo + 0.5*ipo + preferred_ft")
    model = tiny_llama()
    first_step(trainer_with_all_feedback(method, copy.deepcopy(model), model, tmp_path))
    with pytest.raises(SickRunError, match=r"the loss of (dpo|ipo) is"):
        first_step(trainer_with_all_feedback(method, model, with_noise(model, 0.3), tmp_path))


def test_what_is_expected_is_the_methods_own_value_and_is_not_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, float] = {}
    from preftune.training import trainer as trainer_module

    monkeypatch.setattr(trainer_module, "check_start", lambda _, means: seen.update(means))
    model = tiny_llama()
    trainer = trainer_with_all_feedback(Method.named("ipo", {"tau": 0.25}), copy.deepcopy(model), model, tmp_path)
    loss = first_step(trainer)
    assert math.isclose(seen[EXPECTED + "ipo"], (1 / (2 * 0.25)) ** 2)
    assert math.isclose(loss, seen[EXPECTED + "ipo"], rel_tol=1e-5)
    logs: dict[str, float] = {"loss": loss}
    trainer.log(logs)
    assert not [name for name in logs if name.startswith(EXPECTED)]


def test_only_the_first_step_is_held_to_it(tmp_path: Path) -> None:
    model = tiny_llama()
    trainer = trainer_with_all_feedback(Method.named("dpo"), model, copy.deepcopy(model), tmp_path)
    assert math.isclose(first_step(trainer), math.log(2), rel_tol=1e-5)
    with torch.no_grad():
        model.lm_head.weight.add_(0.5 * torch.randn_like(model.lm_head.weight))
    assert not math.isclose(first_step(trainer), math.log(2), rel_tol=1e-2), "a check would have found it"


def test_a_run_on_log_probs_of_another_model_ends_before_its_first_step(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine = cache_reference

    def shifted(policy: Policy, *arguments: object, **settings: object) -> Policy:
        found = genuine(policy, *arguments, **settings)  # type: ignore[arg-type]
        assert isinstance(found.reference, Cached)
        return replace(found, reference=Cached({key: logp + 1.0 for key, logp in found.reference.table.items()}))

    monkeypatch.setattr(run_module, "cache_reference", shifted)
    with pytest.raises(TrainingError, match=r"the implicit reward of the chosen answers is -0\.1000"):
        start(friendly_pairs(8, 1))


def test_sums_of_metrics_hold_nothing_of_a_loss_without_a_reference(tmp_path: Path) -> None:
    model = tiny_llama()
    trainer = trainer_with_all_feedback(Method.named("simpo"), model, model, tmp_path)
    step = next(iter(trainer.get_train_dataloader()))
    context = trainer.objective.begin(model, step, learns=True, is_start=True)
    metrics: MetricSums = trainer.objective(model, step.micro_batches[0], context)[1]
    assert not [name for name in metrics.sums if name.startswith(EXPECTED)]
