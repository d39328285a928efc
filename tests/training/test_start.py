import copy
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import LlamaForCausalLM

from preftune.data.tokens.token_group import TokenGroup
from preftune.errors import TrainingError
from preftune.losses import LOSSES, Method
from preftune.metrics.sums import MetricSums
from preftune.model.forward.sequences import SequencesForward
from preftune.model.load.load_model import Policy
from preftune.model.reference.cached import Cached
from preftune.runs import run as run_module
from preftune.runs.reference import cache_reference
from preftune.training.health.finding import SickRunError
from preftune.training.objective import Objective
from preftune.training.start import EXPECTED
from preftune.training.trainer import PreferenceTrainer
from tests.builders import tiny_llama
from tests.training.conftest import Start
from tests.training.health.world import friendly_pairs
from tests.training.test_objective import groups_with_all_feedback
from tests.training.test_trainer import arguments, frozen
from tests.training.trainers import make_trainer

WITH_REFERENCE = [name for name, loss in LOSSES.items() if loss.needs_reference]


def trainer_of(method: Method, model: LlamaForCausalLM, reference: LlamaForCausalLM, folder: Path) -> PreferenceTrainer:
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
        first_step(trainer_of(Method.named(name), copy.deepcopy(model), with_noise(model, 1e-5), tmp_path))
    )


@pytest.mark.parametrize("name", WITH_REFERENCE)
def test_a_policy_that_is_not_its_reference_is_noticed_with_any_method(name: str, tmp_path: Path) -> None:
    model = tiny_llama()
    trainer = trainer_of(Method.named(name), model, with_noise(model, 0.3), tmp_path)
    with pytest.raises(SickRunError, match="before the first update the") as caught:
        first_step(trainer)
    assert caught.value.finding.severity == "fatal"


def test_a_sum_is_held_to_each_of_its_losses(tmp_path: Path) -> None:
    method = Method.named("dpo + 0.5*ipo + preferred_ft")
    model = tiny_llama()
    first_step(trainer_of(method, copy.deepcopy(model), model, tmp_path))
    with pytest.raises(SickRunError, match=r"the loss of (dpo|ipo) is"):
        first_step(trainer_of(method, model, with_noise(model, 0.3), tmp_path))


def test_what_is_expected_is_the_methods_own_value_and_is_not_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, float] = {}
    from preftune.training import trainer as trainer_module

    monkeypatch.setattr(trainer_module, "check_start", lambda _, means: seen.update(means))
    model = tiny_llama()
    trainer = trainer_of(Method.named("ipo", {"tau": 0.25}), copy.deepcopy(model), model, tmp_path)
    loss = first_step(trainer)
    assert math.isclose(seen[EXPECTED + "ipo"], (1 / (2 * 0.25)) ** 2)
    assert math.isclose(loss, seen[EXPECTED + "ipo"], rel_tol=1e-5)
    logs: dict[str, float] = {"loss": loss}
    trainer.log(logs)
    assert not [name for name in logs if name.startswith(EXPECTED)]


def test_only_the_first_step_is_held_to_it(tmp_path: Path) -> None:
    model = tiny_llama()
    trainer = trainer_of(Method.named("dpo"), model, copy.deepcopy(model), tmp_path)
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
    trainer = trainer_of(Method.named("simpo"), model, model, tmp_path)
    step = next(iter(trainer.get_train_dataloader()))
    context = trainer.objective.begin(model, step, learns=True, is_start=True)
    metrics: MetricSums = trainer.objective(model, step.micro_batches[0], context)[1]
    assert not [name for name in metrics.sums if name.startswith(EXPECTED)]
