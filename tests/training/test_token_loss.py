"""A loss of tokens, made for this test alone, through the whole objective against plain autograd."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import LlamaForCausalLM

from preftune.data.tokens.token_group import TokenGroup
from preftune.losses import Loss, Method, Part, TokenLogps
from preftune.model.forward.packed_batch import pack
from preftune.model.forward.sequences import SequencesForward
from preftune.model.reference.reference import FrozenCopy
from preftune.training.objective import Objective
from preftune.training.step_values import StepValues, measure
from tests.builders import token_groups
from tests.training.test_objective import one_step, picked, token_logps, two_models
from tests.training.test_trainer import arguments, frozen, gradients
from tests.training.trainers import make_trainer

STRENGTH = 0.3
FORWARD = SequencesForward()


def penalised(tokens: TokenLogps, *, strength: float) -> Tensor:
    """Negative log-likelihood plus a sampled KL penalty, per token: -log p + strength * (r / p - 1 - log(r / p))."""
    logratio = tokens.logratio
    return tokens.weights * (strength * ((-logratio).exp() - 1 + logratio) - tokens.policy)


def centred(tokens: TokenLogps, *, strength: float) -> Tensor:
    """The same, times the distance of each token's logratio from the mean over the step."""
    distance = tokens.logratio - tokens.logratio.mean()
    return penalised(tokens, strength=strength) * distance


def method_of(function: Callable[..., Tensor], *, across_rows: bool) -> Method:
    loss = Loss(function, ("tokens",), "token", needs_reference=True, source="this test", across_rows=across_rows)
    return Method("token_loss", (Part("token_loss", loss, {"strength": STRENGTH}),))


METHODS = [method_of(penalised, across_rows=False), method_of(centred, across_rows=True)]


def weighted(groups: Sequence[TokenGroup]) -> list[TokenGroup]:
    rng = np.random.default_rng(2)
    return [
        replace(group, weights=tuple(rng.random(length).astype(np.float32) for length in group.completion_lengths))
        for group in groups
    ]


def plain_loss(
    method: Method, models: tuple[LlamaForCausalLM, LlamaForCausalLM], groups: Sequence[TokenGroup]
) -> Tensor:
    """One sequence at a time, by the model's own logits."""
    rows = [(group, index) for group in groups for index in range(len(group.completions))]
    policy, reference = (torch.cat([picked(token_logps(model, *row), *row) for row in rows]) for model in models)
    lengths = torch.tensor([group.completion_lengths[index] for group, index in rows])
    weights = torch.cat(
        [torch.from_numpy(group.weights[index]) if group.weights else torch.ones(len(group.completions[index]))
         for group, index in rows]
    ).double()  # fmt: skip
    tokens = TokenLogps(policy, reference.detach(), torch.arange(len(rows)).repeat_interleave(lengths), weights)
    (part,) = method.parts
    return part(tokens).sum() / weights.sum()


@pytest.mark.parametrize("method", METHODS, ids=["rows", "across rows"])
@pytest.mark.parametrize("is_weighted", [False, True])
@pytest.mark.parametrize("max_tokens", [10**6, 100])
def test_a_loss_of_tokens_has_the_gradient_of_plain_autograd(
    method: Method, is_weighted: bool, max_tokens: int, tmp_path: Path
) -> None:
    groups = token_groups(5, longest=24)
    groups = weighted(groups) if is_weighted else groups
    models = two_models()
    loss, gradient, num_micro_batches = one_step(models, groups, method, tmp_path, max_tokens=max_tokens)
    assert (num_micro_batches > 1) == (max_tokens == 100)
    plain = copy.deepcopy(models[0])
    expected = plain_loss(method, (plain, models[1]), groups)
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-9)
    for name, value in gradients(plain).items():
        torch.testing.assert_close(gradient[name], value, rtol=1e-9, atol=1e-9 * value.abs().max().item() + 1e-15)


def test_the_start_check_knows_what_a_loss_of_tokens_is_at_the_reference(tmp_path: Path) -> None:
    model = two_models()[0]
    trainer = make_trainer(
        model,
        arguments(tmp_path),
        objective=Objective(METHODS[0], frozen(model), FORWARD),
        train_groups=token_groups(4),
        batch_size=8,
        max_tokens_per_microbatch=10**6,
        starts_at_reference=True,
    )
    loss = trainer.training_step(model, next(iter(trainer.get_train_dataloader())))
    expected = plain_loss(METHODS[0], (model, model), token_groups(4))
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)


def test_log_probs_of_tokens_are_kept_only_for_methods_that_need_them() -> None:
    models = two_models()
    batch = pack(token_groups(2))
    reference = FrozenCopy(models[1].eval())
    kept: list[StepValues] = [
        measure(method, reference, FORWARD, models[0], batch) for method in (METHODS[0], Method.named("dpo"))
    ]
    assert kept[0].token_policy is not None
    assert kept[0].token_policy.shape == batch.targets.shape
    assert kept[1].token_policy is None
    assert kept[1].owners is None
