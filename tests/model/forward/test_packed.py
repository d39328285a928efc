"""Packed rows against one sequence at a time."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel

from preftune.errors import ModelError
from preftune.model.forward.attention import attention
from preftune.model.forward.head.tiles import Tiles
from preftune.model.forward.packed import PackedForward, language_model_of
from preftune.model.forward.packed_batch import pack
from preftune.model.forward.sequences import SequencesForward
from tests.model.forward.tiny_models import (
    ARCHITECTURES,
    GROUPS,
    PLAIN_ATTENTION,
    HonestFloat64,
    enable_checkpointing,
    gradients,
    largest_gradient_error,
    one_by_one_logps,
    relative_error,
    tiny_model,
    token_groups,
)

BATCH = pack(GROUPS)
EXACT = 1e-10


def packed_run(model: nn.Module, *, forward: PackedForward | None = None) -> tuple[Tensor, dict[str, Tensor]]:
    logps = (forward or PackedForward()).token_logps(model, BATCH)
    return logps.detach(), gradients(model, logps)


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("keep_bytes", [0, 1 << 30])
def test_packed_rows_are_exact_in_log_probs_and_all_gradients(name: str, keep_bytes: int) -> None:
    with HonestFloat64():
        model = tiny_model(name)
        expected = one_by_one_logps(model, GROUPS)
        expected_gradients = gradients(model, expected)
        tiles = Tiles(tokens=16, vocabulary=40, keep_bytes=keep_bytes)
        found, found_gradients = packed_run(model, forward=PackedForward(tiles))
        padded = SequencesForward().token_logps(model, BATCH)
    assert relative_error(found, expected) < EXACT
    assert relative_error(found, padded) < EXACT
    assert largest_gradient_error(found_gradients, expected_gradients) < EXACT


@pytest.mark.parametrize("name", ["mistral_window", "gemma2", "gpt_oss"])
def test_the_plain_attention_is_exact_as_well(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_blocks(*_: object, **__: object) -> None:
        raise AssertionError("block attention was called")

    with HonestFloat64():
        model = tiny_model(name)
        expected = one_by_one_logps(model, GROUPS)
        expected_gradients = gradients(model, expected)
        monkeypatch.setattr(attention, "block_attention", without_blocks)
        monkeypatch.setattr(attention, "BLOCK_DEVICES", frozenset[str]())
        found, found_gradients = packed_run(model)
    assert relative_error(found, expected) < EXACT
    assert largest_gradient_error(found_gradients, expected_gradients) < EXACT


lengths = st.tuples(st.integers(1, 40), st.lists(st.integers(1, 40), min_size=1, max_size=5))


@settings(max_examples=25, deadline=None)
@given(groups=st.lists(lengths, min_size=1, max_size=5), window=st.sampled_from([None, 1, 5, 30]))
def test_any_lengths_and_numbers_of_completions_are_exact(
    groups: list[tuple[int, list[int]]], window: int | None
) -> None:
    made = token_groups(groups)
    with HonestFloat64():
        model = tiny_model("mistral_window", sliding_window=window)
        expected = one_by_one_logps(model, made)
        expected_gradients = gradients(model, expected)
        found = PackedForward().token_logps(model, pack(made))
        found_gradients = gradients(model, found)
    assert relative_error(found, expected) < EXACT
    assert largest_gradient_error(found_gradients, expected_gradients) < EXACT


def attention_calls(monkeypatch: pytest.MonkeyPatch) -> list[Tensor | None]:
    """A list that grows by the mask that packed attention is given, call by call."""
    masks: list[Tensor | None] = []
    real: Any = attention.packed_attention

    def spy(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **others: Any) -> Any:
        masks.append(mask)
        return real(module, query, key, value, mask, **others)

    monkeypatch.setitem(AttentionInterface._global_mapping, attention.IMPLEMENTATION, spy)
    return masks


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_gradient_checkpointing_changes_nothing(use_reentrant: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("gpt2", attn_pdrop=0, resid_pdrop=0, embd_pdrop=0)
    model.train()
    expected, expected_gradients = packed_run(model)
    calls = attention_calls(monkeypatch)
    enable_checkpointing(model, use_reentrant=use_reentrant)
    found, found_gradients = packed_run(model)
    assert calls == [None] * 4  # Two layers, forward and again in backward.
    assert relative_error(found, expected) < EXACT
    assert largest_gradient_error(found_gradients, expected_gradients) < EXACT
    assert model.config._attn_implementation == PLAIN_ATTENTION


def test_two_forwards_in_one_backward_restore_the_models_attention() -> None:
    model = tiny_model("llama")
    policy, again = (PackedForward().token_logps(model, BATCH) for _ in range(2))
    (policy.sum() + again.sum()).backward()
    assert model.config._attn_implementation == PLAIN_ATTENTION


@pytest.mark.parametrize("target_modules", [["q_proj", "v_proj"], ["q_proj", "lm_head"], "all-linear"])
@pytest.mark.parametrize("modules_to_save", [None, ["embed_tokens"]])
def test_lora_is_exact_on_any_modules(target_modules: list[str] | str, modules_to_save: list[str] | None) -> None:
    with HonestFloat64():
        config = LoraConfig(
            r=4, target_modules=target_modules, modules_to_save=modules_to_save, init_lora_weights=False
        )
        model = get_peft_model(tiny_model("llama"), config, autocast_adapter_dtype=False)
        check_lora(model)


def test_lora_with_the_head_trained_in_full_is_exact() -> None:
    with HonestFloat64():
        config = LoraConfig(r=4, target_modules=["q_proj"], modules_to_save=["lm_head"], init_lora_weights=False)
        check_lora(get_peft_model(tiny_model("llama"), config, autocast_adapter_dtype=False))


@pytest.mark.parametrize("use_reentrant", [False, True])
@pytest.mark.parametrize("target_modules", ["all-linear", ["q_proj", "lm_head"]])
def test_gradient_checkpointing_changes_nothing_of_lora(target_modules: list[str] | str, use_reentrant: bool) -> None:
    config = LoraConfig(r=4, target_modules=target_modules, init_lora_weights=False)
    model = get_peft_model(tiny_model("llama"), config, autocast_adapter_dtype=False)
    model.train()
    expected, expected_gradients = packed_run(model)
    enable_checkpointing(language_model_of(model), use_reentrant=use_reentrant)
    found, found_gradients = packed_run(model)
    assert relative_error(found, expected) < EXACT
    assert largest_gradient_error(found_gradients, expected_gradients) < EXACT


def check_lora(model: nn.Module) -> None:
    language_model = language_model_of(model)
    expected = one_by_one_logps(language_model, GROUPS)
    expected_gradients = gradients(model, expected)
    found, found_gradients = packed_run(model)
    assert relative_error(found, expected) < EXACT
    assert largest_gradient_error(found_gradients, expected_gradients) < EXACT


def test_bfloat16_autocast_is_as_close_to_float32_as_padded_rows_are() -> None:
    model = tiny_model("llama", torch.float32)
    with torch.no_grad():
        expected = one_by_one_logps(model, GROUPS)
        with torch.autocast("cpu", torch.bfloat16):
            packed = PackedForward().token_logps(model, BATCH)
            padded = SequencesForward().token_logps(model, BATCH)
    assert packed.dtype == torch.float32
    assert (packed - expected).abs().mean() <= 1.2 * (padded - expected).abs().mean()
    assert (packed - expected).abs().max() < 0.05


def test_bfloat16_weights_give_float32_log_probs_and_bfloat16_gradients() -> None:
    model = tiny_model("llama", torch.bfloat16)
    logps, found = packed_run(model)
    expected = one_by_one_logps(tiny_model("llama", torch.float32), GROUPS)
    assert logps.dtype == torch.float32
    assert {gradient.dtype for gradient in found.values()} == {torch.bfloat16}
    assert (logps - expected).abs().max() < 0.1


def test_attention_dropout_is_honoured() -> None:
    model = tiny_model("llama", attention_dropout=0.5)
    calm = PackedForward().token_logps(model, BATCH)
    model.train()
    first, second = (PackedForward().token_logps(model, BATCH) for _ in range(2))
    assert not torch.allclose(first, calm)
    assert not torch.allclose(first, second)


def test_no_mask_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    masks = attention_calls(monkeypatch)
    PackedForward().token_logps(tiny_model("gemma3"), BATCH)
    assert masks == [None, None]


def test_the_models_own_attention_is_back_after_a_forward_and_after_an_error() -> None:
    model = tiny_model("llama")
    PackedForward().token_logps(model, BATCH)
    assert model.config._attn_implementation == PLAIN_ATTENTION

    def breaking(*_: object) -> None:
        raise RuntimeError("broken layer")

    model.get_submodule("model.layers.1").register_forward_pre_hook(breaking)
    with pytest.raises(RuntimeError, match="broken layer"):
        PackedForward().token_logps(model, BATCH)
    assert model.config._attn_implementation == PLAIN_ATTENTION
    assert not model.get_submodule("lm_head")._forward_pre_hooks


def test_a_window_that_does_not_reach_the_attention_is_an_error() -> None:
    model = tiny_model("llama")
    model.config.sliding_window = 8
    with pytest.raises(ModelError, match="sliding window of 8 did not reach"):
        PackedForward().token_logps(model, BATCH)


def test_layers_that_see_chunks_are_an_error() -> None:
    model = tiny_model("llama")
    model.config.layer_types = ["chunked_attention", "full_attention"]
    with pytest.raises(ModelError, match="layers of type chunked_attention"):
        PackedForward().token_logps(model, BATCH)


def test_a_module_without_a_model_of_transformers_is_an_error() -> None:
    with pytest.raises(ModelError, match="Linear holds no model of transformers"):
        PackedForward().token_logps(nn.Linear(2, 2), BATCH)


def test_the_wrapped_model_is_what_is_called() -> None:
    class Wrapped(nn.Module):
        def __init__(self, module: PreTrainedModel) -> None:
            super().__init__()
            self.module = module
            self.calls = 0

        def forward(self, **inputs: object) -> object:
            self.calls += 1
            return self.module(**inputs)

    model = tiny_model("llama")
    wrapped = Wrapped(model)
    expected = PackedForward().token_logps(model, BATCH)
    assert torch.equal(PackedForward().token_logps(wrapped, BATCH), expected)
    assert wrapped.calls == 1
