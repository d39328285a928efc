import copy
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import LlamaForCausalLM, TrainingArguments

from preftune.data.tokens.token_group import TokenGroup
from preftune.errors import TrainingError
from preftune.losses import Method
from preftune.model.forward.sequences import SequencesForward
from preftune.model.reference.reference import FrozenCopy, NoReference, Reference
from preftune.runs.arguments import checkpointing_argument
from preftune.training.objective import Objective
from preftune.training.trainer import PreferenceTrainer
from tests.builders import tiny_llama, token_groups
from tests.training.trainers import make_trainer


def arguments(folder: Path, **settings: Any) -> TrainingArguments:
    defaults: dict[str, Any] = {
        "per_device_train_batch_size": 1,
        "learning_rate": 1e-2,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": [],
        "use_cpu": True,
        "disable_tqdm": True,
        "logging_nan_inf_filter": False,
    }
    return TrainingArguments(str(folder), **{**defaults, **settings})


def trainer_of(
    model: LlamaForCausalLM,
    groups: Sequence[TokenGroup],
    folder: Path,
    *,
    method: str = "dpo",
    reference: Reference | None = None,
    max_tokens: int = 10**6,
    batch_size: int = 8,
    eval_groups: Sequence[TokenGroup] | None = None,
    callbacks: list[Any] | None = None,
    starts_at_reference: bool = False,
    **settings: Any,
) -> PreferenceTrainer:
    return make_trainer(
        model,
        arguments(folder, **settings),
        objective=Objective(Method.named(method), reference or frozen(model), SequencesForward()),
        train_groups=groups,
        eval_groups=eval_groups,
        batch_size=batch_size,
        max_tokens_per_microbatch=max_tokens,
        callbacks=callbacks,
        starts_at_reference=starts_at_reference,
    )


def frozen(model: LlamaForCausalLM) -> FrozenCopy:
    return FrozenCopy(copy.deepcopy(model).eval().requires_grad_(False))


def plain_logps(model: nn.Module, group: TokenGroup) -> Tensor:
    """Log-probs of a group's completions, one sequence at a time, written as one would on paper."""
    values = []
    for completion in group.completions:
        ids = torch.tensor([[*group.prompt, *completion]])
        logps = model(input_ids=ids).logits[0].log_softmax(-1)
        first = len(group.prompt)
        values.append(sum(logps[place - 1, ids[0, place]] for place in range(first, ids.shape[1])))
    return torch.stack([torch.as_tensor(value) for value in values])


def plain_dpo(model: nn.Module, reference: nn.Module, groups: Sequence[TokenGroup], beta: float) -> Tensor:
    losses = []
    for group in groups:
        with torch.no_grad():
            fixed = plain_logps(reference, group)
        logratios = plain_logps(model, group) - fixed
        losses.append(-torch.log(torch.sigmoid(beta * (logratios[0] - logratios[1]))))
    return torch.stack(losses).mean()


def gradients(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None}


def step_gradients(trainer: PreferenceTrainer) -> tuple[float, dict[str, Tensor]]:
    model = trainer.model
    assert model is not None
    model.zero_grad()
    step = next(iter(trainer.get_train_dataloader()))
    loss = trainer.training_step(model, step)
    return loss.item(), gradients(model)


def test_a_step_is_the_plain_loss_and_gradient_however_it_is_cut(tmp_path: Path) -> None:
    model, reference = tiny_llama().double(), tiny_llama().double()
    groups = token_groups(16, longest=40)
    plain = plain_dpo(model, reference, groups, beta=0.1)
    plain.backward()
    expected = gradients(model)
    for max_tokens in (200, 10**6):
        trainer = trainer_of(model, groups, tmp_path, reference=frozen(reference), max_tokens=max_tokens, batch_size=16)
        step = next(iter(trainer.get_train_dataloader()))
        assert (len(step.micro_batches) > 1) == (max_tokens == 200)
        loss, found = step_gradients(trainer)
        assert math.isclose(loss, plain.item(), rel_tol=1e-6)  # the trainer logs in float32
        assert found.keys() == expected.keys()
        for name, gradient in expected.items():
            torch.testing.assert_close(found[name], gradient, rtol=1e-12, atol=1e-15)


def test_sft_is_the_mean_over_the_tokens_of_the_step_however_it_is_cut(tmp_path: Path) -> None:
    model = tiny_llama().double()
    groups = token_groups(8, completions=1, longest=30)
    total = -torch.stack([plain_logps(model, group).sum() for group in groups]).sum()
    plain = total / sum(len(group.completions[0]) for group in groups)
    plain.backward()
    expected = gradients(model)
    for max_tokens in (70, 10**6):
        trainer = trainer_of(model, groups, tmp_path, method="sft", reference=NoReference(), max_tokens=max_tokens)
        loss, found = step_gradients(trainer)
        assert math.isclose(loss, plain.item(), rel_tol=1e-6)
        for name, gradient in expected.items():
            torch.testing.assert_close(found[name], gradient, rtol=1e-12, atol=1e-15)


def test_the_first_loss_is_ln_2_and_it_falls(tmp_path: Path) -> None:
    trainer = trainer_of(tiny_llama(), token_groups(8), tmp_path, num_train_epochs=8, starts_at_reference=True)
    trainer.train()
    losses = [log["loss"] for log in trainer.state.log_history if "loss" in log]
    assert abs(losses[0] - math.log(2)) < 1e-6
    assert losses[-1] < 0.8 * losses[0]
    assert trainer.state.log_history[-2]["rewards/accuracies"] == 1.0


def test_every_logged_step_carries_the_metrics(tmp_path: Path) -> None:
    groups = token_groups(8)
    trainer = trainer_of(tiny_llama(), groups, tmp_path, batch_size=4, num_train_epochs=1)
    trainer.train()
    logs = [log for log in trainer.state.log_history if "loss" in log]
    assert len(logs) == 2
    for name in ("chosen", "rejected", "margins", "accuracies"):
        assert f"rewards/{name}" in logs[0]
    for name in ("logps/chosen", "logps/rejected", "grad_norm", "tokens_per_second", "learning_rate"):
        assert name in logs[0]
    assert logs[-1]["num_tokens"] == sum(len(g.prompt) + sum(g.completion_lengths) for g in groups)
    margins = logs[1]["rewards/chosen"] - logs[1]["rewards/rejected"]
    assert math.isclose(margins, logs[1]["rewards/margins"], rel_tol=1e-5)


def test_held_out_metrics_are_those_of_the_held_out_groups(tmp_path: Path) -> None:
    model, reference, held_out = tiny_llama(), tiny_llama(), token_groups(5, seed=1)
    trainer = trainer_of(
        model,
        token_groups(4),
        tmp_path,
        reference=frozen(reference),
        eval_groups=held_out,
        max_tokens=60,
        batch_size=2,
    )
    metrics = trainer.evaluate()
    expected = plain_dpo(model, reference, held_out, beta=0.1).item()
    assert math.isclose(metrics["eval_loss"], expected, rel_tol=1e-5)
    assert metrics["eval_rewards/accuracies"] in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    torch.manual_seed(0)
    start = tiny_llama()
    settings: dict[str, Any] = {"num_train_epochs": 3, "save_strategy": "steps", "save_steps": 4, "batch_size": 3}
    models = copy.deepcopy(start), copy.deepcopy(start)
    whole = trainer_of(models[0], token_groups(9), tmp_path, reference=frozen(start), **settings)
    whole.train()
    resumed = trainer_of(models[1], token_groups(9), tmp_path, reference=frozen(start), **settings)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    for name, parameter in models[0].named_parameters():
        torch.testing.assert_close(models[1].get_parameter(name), parameter, rtol=0, atol=0)
    losses = [[log["loss"] for log in run.state.log_history if "loss" in log] for run in (whole, resumed)]
    assert losses[0] == losses[1]


def test_policy_unequal_to_its_reference_at_the_start_is_noticed(tmp_path: Path) -> None:
    trainer = trainer_of(
        tiny_llama(), token_groups(4), tmp_path, reference=frozen(tiny_llama()), starts_at_reference=True
    )
    with pytest.raises(TrainingError, match="before the first update the implicit reward"):
        trainer.train()


def test_dropout_is_no_sign_of_another_reference(tmp_path: Path) -> None:
    model = tiny_llama(attention_dropout=0.5)
    trainer = trainer_of(model, token_groups(4), tmp_path, reference=frozen(model), starts_at_reference=True)
    trainer.train()
    assert abs(next(log["rewards/chosen"] for log in trainer.state.log_history if "rewards/chosen" in log)) > 1e-3


def test_a_gradient_that_is_not_finite_stops_the_run_before_the_weights_change(tmp_path: Path) -> None:
    model = tiny_llama()
    reference = frozen(model)
    with torch.no_grad():
        model.lm_head.weight[0, 0] = math.nan
    before = model.model.norm.weight.clone()
    trainer = trainer_of(model, token_groups(4), tmp_path, reference=reference)
    with pytest.raises(TrainingError, match=r"step 1: the gradient is not finite"):
        trainer.train()
    torch.testing.assert_close(model.model.norm.weight, before, rtol=0, atol=0)


def test_gradient_checkpointing_changes_only_memory(tmp_path: Path) -> None:
    start = tiny_llama().double()
    models = copy.deepcopy(start), copy.deepcopy(start)
    for model, recompute in zip(models, (False, True), strict=True):
        switch: dict[str, Any] = {checkpointing_argument(): recompute}
        trainer_of(model, token_groups(8), tmp_path, reference=frozen(start), batch_size=4, **switch).train()
    assert not torch.allclose(models[0].lm_head.weight, start.lm_head.weight)
    for name, parameter in models[0].named_parameters():
        torch.testing.assert_close(models[1].get_parameter(name), parameter, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant_with_warmup", "inverse_sqrt"])
@pytest.mark.parametrize(("warmup", "num_warmup"), [(0, 0), (1, 1), (2, 2), (0.5, 2), (0.01, 1)])
def test_the_first_of_n_warm_up_steps_has_an_nth_of_the_peak_rate(
    schedule: str, warmup: float, num_warmup: int, tmp_path: Path
) -> None:
    def rates(**further: Any) -> list[float]:
        model = tiny_llama()
        trainer = make_trainer(
            model,
            arguments(tmp_path, max_steps=4, warmup_steps=warmup, lr_scheduler_type=schedule),
            objective=Objective(Method.named("dpo"), frozen(model), SequencesForward()),
            train_groups=token_groups(8),
            batch_size=2,
            max_tokens_per_microbatch=10**6,
            **further,
        )
        trainer.train()
        return [log["learning_rate"] for log in trainer.state.log_history if "learning_rate" in log]

    of_transformers, ours = rates(), rates(warms_up_from_zero=False)
    assert ours[:num_warmup] == pytest.approx([1e-2 * step / num_warmup for step in range(1, num_warmup + 1)])
    assert ours[num_warmup:] == of_transformers[num_warmup:]
    assert min(ours[:num_warmup] or [1.0]) > 0
    assert of_transformers[0] == (0.0 if num_warmup else 1e-2)
