"""Values per token of packed rows against padded rows and the formulas, in float64."""

import copy
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from preftune.errors import ModelError
from preftune.model.forward.forward import Forward
from preftune.model.forward.head.tiles import Tiles
from preftune.model.forward.head.token_values import AllLogps, HeadStates, TokenExtra, TokenValues
from preftune.model.forward.packed import PackedForward
from preftune.model.forward.packed_batch import pack
from preftune.model.forward.sequences import SequencesForward
from tests.model.forward.head.test_head import with_unknown_head
from tests.model.forward.largest_tensor import LargestTensor
from tests.model.forward.tiny_models import (
    GROUPS,
    VOCABULARY_SIZE,
    HonestFloat64,
    gradients,
    largest_gradient_error,
    relative_error,
    tiny_model,
)

BATCH = pack(GROUPS)
EXACT = 1e-10
EXTRAS: frozenset[TokenExtra] = frozenset({"entropy", "log_collision"})
PACKED = PackedForward(Tiles(tokens=16, vocabulary=40))
PADDED = SequencesForward()
MODELS: dict[str, dict[str, Any]] = {
    "llama": {},
    "llama_tied_biased": {},
    "gemma2": {},
    "cohere2": {"logit_scale": 0.25},
    "granite": {},
    "gpt2": {},
}


def other_weights(model: PreTrainedModel) -> PreTrainedModel:
    """The same architecture with weights some way off."""
    other = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in other.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
            parameter.add_(noise, alpha=0.3 * parameter.shape[-1] ** -0.5)
    return other


def values(forward: Forward, model: nn.Module, reference: nn.Module, *, held_by: Forward | None = None) -> TokenValues:
    """All values there are; the reference's distributions by the same forward, or by another one."""
    held = (held_by or forward).distributions(reference, BATCH)
    return forward.token_values(model, BATCH, extras=EXTRAS, reference=held)


def kl_of(found: TokenValues) -> Tensor:
    assert found.kl is not None
    return found.kl


def assert_same(found: TokenValues, expected: TokenValues) -> None:
    for name in ("logps", "entropy", "log_collision", "kl"):
        assert getattr(found, name).shape == BATCH.targets.shape
        assert relative_error(getattr(found, name), getattr(expected, name)) < EXACT


@pytest.mark.parametrize("name", MODELS)
def test_packed_rows_give_the_values_and_gradients_of_padded_rows(name: str) -> None:
    with HonestFloat64():
        model = tiny_model(name, **MODELS[name])
        reference = other_weights(model)
        expected, found = values(PADDED, model, reference), values(PACKED, model, reference)
        assert_same(found, expected)
        assert isinstance(PACKED.distributions(reference, BATCH), HeadStates)
        of_found, of_expected = (gradients(model, torch.cat([each.logps, kl_of(each)])) for each in (found, expected))
        assert largest_gradient_error(of_found, of_expected) < EXACT
        of_found, of_expected = (gradients(model, kl_of(values(each, model, reference))) for each in (PACKED, PADDED))
        assert largest_gradient_error(of_found, of_expected) < EXACT


def test_padded_rows_give_what_the_formulas_say() -> None:
    with HonestFloat64(), torch.no_grad():
        model = tiny_model("gemma2")
        reference = other_weights(model)
        found = values(PADDED, model, reference)
        log_p, log_r = (every_logp(each) for each in (model, reference))
    p, r = log_p.exp(), log_r.exp()
    assert found.entropy is not None
    assert found.log_collision is not None
    assert relative_error(found.entropy, -(p * log_p).sum(-1)) < EXACT
    assert relative_error(found.log_collision, p.square().sum(-1).log()) < EXACT
    assert relative_error(kl_of(found), (r * (log_r - log_p)).sum(-1)) < EXACT
    assert kl_of(found).min() > 0


def every_logp(model: PreTrainedModel) -> Tensor:
    """Log-probs of the vocabulary, one sequence at a time. Shape: (target, vocabulary)."""
    found = []
    for group in GROUPS:
        prompt = torch.from_numpy(group.prompt).long()
        for completion in group.completions:
            token_ids = torch.cat([prompt, torch.from_numpy(completion).long()])
            logits = model(input_ids=token_ids[None], use_cache=False).logits[0]
            found.append(logits[len(prompt) - 1 : -1].log_softmax(-1))
    return torch.cat(found)


@pytest.mark.parametrize("forward", [PACKED, PADDED])
@pytest.mark.parametrize("name", ["gemma2", "gpt2"])
def test_the_kl_of_a_model_with_itself_is_zero_with_zero_gradient(name: str, forward: Forward) -> None:
    with HonestFloat64():
        model = tiny_model(name)
        kl = kl_of(values(forward, model, model))
        found = gradients(model, kl)
    assert kl.abs().max() < 1e-14
    assert max(float(gradient.abs().max()) for gradient in found.values()) < 1e-13


@pytest.mark.parametrize("forward", [PACKED, PADDED])
@pytest.mark.parametrize("held_by", [PACKED, PADDED])
def test_any_two_forms_of_policy_and_reference_go_together(forward: Forward, held_by: Forward) -> None:
    """With another architecture as the reference, and with heads that are not known on either side."""
    with HonestFloat64():
        policies = (tiny_model("gemma2"), with_unknown_head(tiny_model("llama")))
        references = (tiny_model("cohere2", logit_scale=0.25), with_unknown_head(tiny_model("gpt2")))
        for policy in policies:
            for reference in references:
                expected = values(PADDED, policy, reference)
                found = values(forward, policy, reference, held_by=held_by)
                assert_same(found, expected)
                of_found, of_expected = (gradients(policy, kl_of(each)) for each in (found, expected))
                assert largest_gradient_error(of_found, of_expected) < EXACT


def test_a_model_with_an_unknown_head_gives_all_log_probs() -> None:
    model = with_unknown_head(tiny_model("llama"))
    held = PACKED.distributions(model, BATCH)
    assert isinstance(held, AllLogps)
    assert held.logps.shape == (len(BATCH.targets), VOCABULARY_SIZE)
    assert not held.logps.requires_grad


@pytest.mark.parametrize("forward", [PACKED, PADDED])
def test_values_not_requested_are_absent(forward: Forward) -> None:
    model = tiny_model("llama")
    found = forward.token_values(model, BATCH)
    assert found.entropy is found.log_collision is found.kl is None
    assert torch.equal(found.logps, forward.token_logps(model, BATCH))
    found = forward.token_values(model, BATCH, extras=frozenset({"entropy"}))
    assert found.entropy is not None
    assert not found.entropy.requires_grad
    assert found.log_collision is None


@pytest.mark.parametrize("forward", [PACKED, PADDED])
def test_a_head_of_another_width_is_an_error_that_names_both(forward: Forward) -> None:
    reference = tiny_model("llama", vocab_size=VOCABULARY_SIZE + 31)
    with pytest.raises(ModelError, match="reference gives probabilities to 128 tokens, the policy to 97") as caught:
        values(forward, tiny_model("llama"), reference)
    assert "resize_token_embeddings" in str(caught.value)


def test_a_reference_without_its_head_is_an_error() -> None:
    model = tiny_model("llama")
    reference = other_weights(model)
    held = PACKED.distributions(reference, BATCH)
    reference.lm_head.weight = nn.Parameter(torch.empty(0))
    with pytest.raises(ModelError, match="it is sharded"):
        PACKED.token_values(model, BATCH, reference=held)
    assert not model.lm_head._forward_pre_hooks


def test_bfloat16_weights_give_float32_values() -> None:
    model = tiny_model("llama", torch.bfloat16)
    reference = other_weights(model)
    found, exact = (values(PACKED, *pair) for pair in ((model, reference), (in_float64(model), in_float64(reference))))
    for name in ("logps", "entropy", "log_collision", "kl"):
        assert getattr(found, name).dtype == torch.float32
        assert (getattr(found, name) - getattr(exact, name)).abs().max() < 0.1
    assert {gradient.dtype for gradient in gradients(model, kl_of(found)).values()} == {torch.bfloat16}


def in_float64(model: PreTrainedModel) -> PreTrainedModel:
    double: PreTrainedModel = copy.deepcopy(model).double()
    return double


def test_checkpointing_changes_no_gradient_of_the_kl() -> None:
    model = tiny_model("llama")
    reference = other_weights(model)
    expected = gradients(model, kl_of(values(PACKED, model, reference)))
    model.train()
    with warnings.catch_warnings(category=FutureWarning, action="ignore"):  # transformers 5.23 has a new name for it.
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    found = gradients(model, kl_of(values(PACKED, model, reference)))
    assert largest_gradient_error(found, expected) < EXACT


def test_packed_rows_hold_the_distributions_without_the_vocabulary() -> None:
    model = tiny_model("llama", torch.float32, vocab_size=2000)
    with LargestTensor() as largest:
        found = PackedForward(Tiles(16, 64)).token_values(
            model, BATCH, extras=EXTRAS, reference=PACKED.distributions(other_weights(model), BATCH)
        )
        (found.logps.sum() + kl_of(found).sum()).backward()
    # The embeddings of 2000 x 32 are the largest tensors there are.
    assert largest.num_elements == 2000 * 32 < len(BATCH.targets) * 2000
