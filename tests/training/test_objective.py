"""Every method of the table through the trainer: what it is given, and that no cut of a step changes the loss."""

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import LlamaForCausalLM

from preftune.data.tokens.token_group import TokenGroup
from preftune.groups import Pair
from preftune.losses import LOSSES, Method, ReferencedLogps
from preftune.model.forward.forward import Forward
from preftune.model.forward.packed import PackedForward
from preftune.model.forward.packed_batch import pack
from preftune.model.forward.sequences import SequencesForward
from preftune.model.reference.reference import FrozenCopy, NoReference
from preftune.training.objective import Objective
from preftune.training.step_values import StepValues, measure
from tests.builders import tiny_llama, token_groups
from tests.training.test_trainer import arguments, frozen, gradients, plain_logps
from tests.training.trainers import make_trainer


def groups_with_all_feedback(count: int, *, completions: int = 2) -> list[TokenGroup]:
    rng = np.random.default_rng(1)
    groups = token_groups(count, completions=completions, longest=24)
    return [
        replace(
            group,
            pairs=tuple(Pair(i, j, margin=float(j - i)) for i in range(completions) for j in range(i + 1, completions)),
            scores=tuple(float(completions - index) for index in range(completions)),
            desirable=tuple(index == 0 for index in range(completions)),
            mismatched=tuple(rng.integers(3, 61, 5).astype(np.int32) for _ in range(completions)),
        )
        for group in groups
    ]


def two_models() -> tuple[LlamaForCausalLM, LlamaForCausalLM]:
    return tiny_llama().double(), tiny_llama().double()


def one_step(
    models: tuple[LlamaForCausalLM, LlamaForCausalLM],
    groups: Sequence[TokenGroup],
    method: Method,
    folder: Path,
    *,
    max_tokens: int,
    forward: Forward | None = None,
) -> tuple[float, dict[str, Tensor], int]:
    """Loss, gradients and number of micro-batches of a step over all groups."""
    model = copy.deepcopy(models[0])
    reference = frozen(models[1]) if method.needs_reference else NoReference()
    trainer = make_trainer(
        model,
        arguments(folder),
        objective=Objective(method, reference, forward or SequencesForward()),
        train_groups=groups,
        eval_groups=groups,
        batch_size=10**6,
        max_tokens_per_microbatch=max_tokens,
    )
    [step] = list(trainer.get_train_dataloader())
    loss = trainer.training_step(model, step)
    metrics = trainer.evaluation_loop(trainer.get_eval_dataloader(), "held out").metrics
    assert metrics is not None
    held_out = metrics["eval_loss"]
    if not method.needs("state"):  # the state has moved on in between
        assert math.isclose(held_out, loss.item(), rel_tol=1e-5, abs_tol=1e-6)
    return held_out, gradients(model), len(step.micro_batches)


@pytest.mark.parametrize("name", LOSSES)
def test_a_step_has_the_same_loss_and_gradient_however_it_is_cut_and_packed(name: str, tmp_path: Path) -> None:
    completions = 3 if LOSSES[name].feedback == "lists" else 2
    groups = groups_with_all_feedback(6, completions=completions)
    models, method = two_models(), Method.named(name)
    whole, expected, one = one_step(models, groups, method, tmp_path, max_tokens=10**6)
    cut, found, several = one_step(models, groups, method, tmp_path, max_tokens=150)
    packed, found_packed, _ = one_step(models, groups, method, tmp_path, max_tokens=150, forward=PackedForward())
    assert one == 1
    assert several > 1
    assert any(gradient.abs().max() > 0 for gradient in expected.values())
    # Norms of this model are computed in float32, which packed rows round elsewhere; tests/policy has them in float64.
    for loss, gradient, rounding in ((cut, found, 1e-10), (packed, found_packed, 1e-5)):
        assert math.isclose(loss, whole, rel_tol=rounding)
        assert gradient.keys() == expected.keys()
        for parameter, value in expected.items():
            scale = value.abs().max().item()
            torch.testing.assert_close(gradient[parameter], value, rtol=rounding, atol=rounding * scale + 1e-15)


@pytest.mark.parametrize("name", [name for name in LOSSES if Method.named(name).across_rows])
def test_at_the_start_where_all_margins_are_0_no_cut_and_order_changes_the_step(name: str, tmp_path: Path) -> None:
    policy = two_models()[0]
    groups, method = groups_with_all_feedback(9), Method.named(name)
    _, expected, _ = one_step((policy, policy), groups, method, tmp_path, max_tokens=10**6)
    for max_tokens in (90, 200):
        _, found, num_batches = one_step((policy, policy), groups[::-1], method, tmp_path, max_tokens=max_tokens)
        assert num_batches > 1
        for parameter, gradient in expected.items():
            torch.testing.assert_close(found[parameter], gradient, rtol=1e-8, atol=1e-8 * gradient.abs().max().item())


def test_a_sum_of_losses_is_the_weighted_sum_of_their_means(tmp_path: Path) -> None:
    groups, models = groups_with_all_feedback(6), two_models()
    found, gradient, _ = one_step(
        models, groups, Method.named("0.8*dpo + 0.5*preferred_ft"), tmp_path, max_tokens=10**6
    )
    dpo, of_dpo, _ = one_step(models, groups, Method.named("dpo"), tmp_path, max_tokens=10**6)
    sft, of_sft, _ = one_step(models, groups, Method.named("preferred_ft"), tmp_path, max_tokens=10**6)
    assert math.isclose(found, 0.8 * dpo + 0.5 * sft, rel_tol=1e-9)
    for name, value in gradient.items():
        expected = 0.8 * of_dpo[name] + 0.5 * of_sft[name]
        torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())


def values_of(
    name: str, groups: Sequence[TokenGroup], models: tuple[LlamaForCausalLM, LlamaForCausalLM]
) -> tuple[StepValues, Method]:
    method = Method.named(name)
    batch = pack(groups)
    return measure(method, FrozenCopy(models[1].eval()), SequencesForward(), models[0], batch), method


def token_logps(model: LlamaForCausalLM, group: TokenGroup, index: int) -> Tensor:
    """The whole log-softmax at each token of a completion. Shape: (token, vocabulary)."""
    ids = torch.tensor([[*group.prompt, *group.completions[index]]])
    logps: Tensor = model(input_ids=ids).logits[0].log_softmax(-1)
    return logps[len(group.prompt) - 1 : -1]


def picked(logps: Tensor, group: TokenGroup, index: int) -> Tensor:
    return logps.gather(1, torch.from_numpy(group.completions[index].astype(np.int64))[:, None])[:, 0]


def test_ld_dpo_is_given_the_log_probs_of_as_many_tokens_as_the_shorter_answer_has() -> None:
    groups, models = groups_with_all_feedback(3), two_models()
    values, method = values_of("ld_dpo", groups, models)
    arguments = values.arguments(method.parts[0])
    for row, group in enumerate(groups):
        shared = min(group.completion_lengths)
        for index, name in enumerate(("chosen_shared", "rejected_shared")):
            given: ReferencedLogps = arguments[name]
            for model, found in zip(models, (given.policy, given.reference), strict=True):
                expected = picked(token_logps(model, group, index), group, index)[:shared].sum()
                torch.testing.assert_close(found[row], expected, rtol=1e-10, atol=1e-12)


def test_tdpo_is_given_the_kl_of_the_reference_to_the_policy_summed_over_the_tokens() -> None:
    groups, models = groups_with_all_feedback(3), two_models()
    values, method = values_of("tdpo", groups, models)
    arguments = values.arguments(method.parts[0])
    for row, group in enumerate(groups):
        for index, name in enumerate(("chosen_kl", "rejected_kl")):
            policy, reference = (token_logps(model, group, index) for model in models)
            expected = (reference.exp() * (reference - policy)).sum()
            torch.testing.assert_close(arguments[name][row], expected, rtol=1e-9, atol=1e-12)


def test_wpo_is_given_the_mean_alignment_of_the_tokens_with_the_policy() -> None:
    groups, models = groups_with_all_feedback(3), two_models()
    values, method = values_of("wpo", groups, models)
    arguments = values.arguments(method.parts[0])
    for row, group in enumerate(groups):
        for index, name in enumerate(("chosen_alignment", "rejected_alignment")):
            logps = token_logps(models[0], group, index)
            expected = (picked(logps, group, index) - (2 * logps).logsumexp(-1)).mean()
            assert not arguments[name].requires_grad
            torch.testing.assert_close(arguments[name][row], expected, rtol=1e-9, atol=1e-12)


def test_weights_of_tokens_weigh_the_log_probs_of_policy_and_reference() -> None:
    models = two_models()
    [group] = groups_with_all_feedback(1)
    weights = tuple(np.linspace(0, 2, length, dtype=np.float32) for length in group.completion_lengths)
    values, _ = values_of("dpo", [replace(group, weights=weights)], models)
    assert values.reference is not None
    for index, own in enumerate(weights):
        for model, found in zip(models, (values.policy, values.reference), strict=True):
            expected = (picked(token_logps(model, group, index), group, index) * torch.from_numpy(own)).sum()
            torch.testing.assert_close(found[index], expected, rtol=1e-9, atol=1e-12)
        assert math.isclose(values.num_tokens[index].item(), own.sum(), rel_tol=1e-6)


def test_a_weight_of_one_everywhere_changes_nothing(tmp_path: Path) -> None:
    groups, models = groups_with_all_feedback(4), two_models()
    ones = [
        replace(group, weights=tuple(np.ones(n, dtype=np.float32) for n in group.completion_lengths))
        for group in groups
    ]
    for name in ("dpo", "simpo", "preferred_ft"):
        plain, of_plain, _ = one_step(models, groups, Method.named(name), tmp_path, max_tokens=10**6)
        weighted, of_weighted, _ = one_step(models, ones, Method.named(name), tmp_path, max_tokens=10**6)
        assert math.isclose(plain, weighted, rel_tol=1e-12)
        for parameter, value in of_plain.items():
            torch.testing.assert_close(of_weighted[parameter], value, rtol=1e-12, atol=1e-15)


def test_a_further_reward_moves_the_margin_by_its_difference() -> None:
    # MODPO: the margin is beta * logratios - (auxiliary of the chosen - that of the rejected).
    models = two_models()
    [group] = groups_with_all_feedback(1)
    values, method = values_of("dpo", [replace(group, auxiliary=(0.7, -0.2))], models)
    [loss] = method.parts[0](*values.arguments(method.parts[0]).values()).tolist()
    own = [plain_logps(model, group) for model in models]
    margin = 0.1 * ((own[0] - own[1])[0] - (own[0] - own[1])[1]).item() - 0.9
    assert math.isclose(loss, math.log1p(math.exp(-margin)), rel_tol=1e-6)


def test_the_mismatched_completions_of_a_step_say_how_far_the_policy_has_moved(tmp_path: Path) -> None:
    groups, models = groups_with_all_feedback(3), two_models()
    trainer = make_trainer(
        models[0],
        arguments(tmp_path),
        objective=Objective(Method.named("kto"), frozen(models[1]), SequencesForward()),
        train_groups=groups,
        batch_size=6,
        max_tokens_per_microbatch=100,
    )
    [step] = list(trainer.get_train_dataloader())
    mismatched = trainer.objective.begin(models[0], step, learns=True).mismatched
    assert mismatched is not None
    expected = []
    for group in groups:
        other = group.mismatched_group
        assert other is not None
        expected += (plain_logps(models[0], other) - plain_logps(models[1], other)).tolist()
    assert sorted(mismatched.logratio.tolist()) == pytest.approx(sorted(expected), rel=1e-9)
