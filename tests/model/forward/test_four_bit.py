"""Packed rows where the base is in 4 bits and adapters are trained (QLoRA)."""

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from preftune.model.forward.packed import PackedForward, language_model_of
from preftune.model.forward.packed_batch import pack
from preftune.model.forward.self_check import choose_forward
from preftune.model.forward.sequences import SequencesForward
from tests.model.forward.tiny_models import (
    GROUPS,
    enable_checkpointing,
    gradients,
    largest_gradient_error,
    relative_error,
    tiny_model,
)

bitsandbytes = pytest.importorskip("bitsandbytes", reason="4-bit weights need it: pip install bitsandbytes")

BATCH = pack(GROUPS)
ROUNDING = 1e-5
"""Of float32: 4-bit weights have no float64 arithmetic."""


@pytest.fixture
def model(tmp_path: Path) -> PeftModel:
    """A model in training mode: in the other, bitsandbytes changes weights on some CPUs so that gradients are lost."""
    wide_enough_for_blocks = {"hidden_size": 64, "intermediate_size": 128}  # Of weights that share a scale.
    tiny_model("llama", torch.float32, **wide_enough_for_blocks).save_pretrained(tmp_path)
    four_bit = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_compute_dtype=torch.float32)
    base = AutoModelForCausalLM.from_pretrained(tmp_path, quantization_config=four_bit, device_map="cpu")
    assert isinstance(base.get_submodule("model.layers.0.mlp.up_proj"), bitsandbytes.nn.Linear4bit)
    adapter = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
    return get_peft_model(base, adapter).train()


@pytest.mark.parametrize("checkpointing", [False, True])
def test_packed_rows_are_exact_in_log_probs_and_gradients_of_adapters(model: PeftModel, checkpointing: bool) -> None:
    expected = SequencesForward().token_logps(model, BATCH)
    expected_gradients = gradients(model, expected)
    if checkpointing:
        enable_checkpointing(language_model_of(model), use_reentrant=False)
    found = PackedForward().token_logps(model, BATCH)
    found_gradients = gradients(model, found)
    assert all("lora_" in name for name in found_gradients)
    assert relative_error(found, expected) < ROUNDING
    assert largest_gradient_error(found_gradients, expected_gradients) < ROUNDING


def test_packed_rows_are_taken(model: PeftModel) -> None:
    choice = choose_forward(model)
    assert isinstance(choice.forward, PackedForward), choice.reason
