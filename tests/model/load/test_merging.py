"""A merged model is the model with its adapter, whatever the adapter is on."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from preftune.errors import ModelError
from preftune.model.load import merging
from preftune.model.load.load_model import load_causal_lm, load_policy
from preftune.model.load.merging import merge_adapter
from preftune.model.reference.reference import FrozenCopy
from preftune.settings import ModelSettings
from tests.builders import VOCABULARY, tiny_llama
from tests.cli.command_line import call
from tests.runs.inputs import config_of, write_model

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:peft")
"""peft warns of adapters on tied layers."""

TOKEN_IDS = torch.arange(VOCABULARY)[None]

ADAPTERS: dict[str, dict[str, Any]] = {
    "attention": {"target_modules": ["q_proj", "v_proj"]},
    "head": {"target_modules": ["q_proj", "lm_head"]},
    "embeddings": {"target_modules": ["q_proj", "embed_tokens"]},
    "both": {"target_modules": ["q_proj", "embed_tokens", "lm_head"]},
    "saved head": {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
    "saved embeddings": {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"]},
    "both saved": {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens", "lm_head"]},
    "adapted and saved": {"target_modules": ["embed_tokens"], "modules_to_save": ["lm_head"]},
    "biases": {"target_modules": ["q_proj", "lm_head"], "bias": "lora_only"},
    "kept tied": {"target_modules": ["q_proj", "embed_tokens"], "ensure_weight_tying": True},
    "saved and kept tied": {
        "target_modules": ["q_proj"],
        "modules_to_save": ["embed_tokens"],
        "ensure_weight_tying": True,
    },
    "dora": {"target_modules": ["q_proj"], "use_dora": True},
}


def adapted(model: Any, settings: dict[str, Any]) -> PeftModel:
    """The model with an adapter that changes it much."""
    found: PeftModel = get_peft_model(
        model, LoraConfig(r=4, init_lora_weights=False, task_type="CAUSAL_LM", **settings)
    )
    with torch.no_grad():
        for name, parameter in found.named_parameters():
            if "modules_to_save" in name:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return found


def logps(model: nn.Module) -> Tensor:
    """Log-probs after every token of the vocabulary."""
    with torch.no_grad():
        found: Tensor = model.eval()(TOKEN_IDS).logits.log_softmax(-1)
    return found


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_merged_model_and_its_reload_give_the_log_probs_of_the_adapter(
    tmp_path: Path, adapter: str, tied: bool
) -> None:
    model = adapted(tiny_llama(tie_word_embeddings=tied).double(), ADAPTERS[adapter])
    expected = logps(model)
    merged = merge_adapter(model)
    torch.testing.assert_close(logps(merged), expected, rtol=0, atol=1e-10)
    merged.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float64)
    torch.testing.assert_close(logps(again), expected, rtol=0, atol=1e-10)
    is_untied = adapter not in ("attention", "dora", "saved and kept tied")
    assert again.config.tie_word_embeddings is (tied and not is_untied)
    again.tie_weights()
    torch.testing.assert_close(logps(again), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("target", ["lm_head", "embed_tokens"])
def test_runs_on_a_tied_model_can_be_merged_and_trained_in_full(pairs_file: Path, tmp_path: Path, target: str) -> None:
    folder = write_model(tmp_path / "model", tie_word_embeddings=True)
    model = adapted(AutoModelForCausalLM.from_pretrained(folder), {"target_modules": ["q_proj", target]})
    model.save_pretrained(str(tmp_path / "adapter"))
    (tmp_path / "adapter" / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    (tmp_path / "adapter" / "tokenizer_config.json").write_bytes((folder / "tokenizer_config.json").read_bytes())
    expected = logps(load_causal_lm(ModelSettings(model=str(tmp_path / "adapter"))))
    assert (logps(load_causal_lm(ModelSettings(model=str(folder)))) - expected).abs().max() > 0.1
    result = call("merge", "--model", tmp_path / "adapter", "--output", tmp_path / "merged")
    assert result.exit_code == 0, result.output
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    torch.testing.assert_close(logps(merged), expected, rtol=0, atol=1e-4)
    policy = load_policy(config_of(tmp_path / "adapter", pairs_file, tmp_path / "run"))
    torch.testing.assert_close(logps(policy.model), expected, rtol=0, atol=1e-4)
    assert isinstance(policy.reference, FrozenCopy)
    torch.testing.assert_close(logps(policy.reference.model), expected, rtol=0, atol=1e-4)


def test_a_merge_that_gives_another_model_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merging, "_untie", lambda _base: None)
    model = adapted(tiny_llama(tie_word_embeddings=True), ADAPTERS["head"])
    with pytest.raises(ModelError, match=r"gives another model: log-probs differ by .* of their spread"):
        merge_adapter(model)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_rounding_is_no_difference(dtype: torch.dtype) -> None:
    merged = merge_adapter(adapted(nn.Module.to(tiny_llama(), dtype), ADAPTERS["attention"]))
    assert next(merged.parameters()).dtype == dtype


def test_an_adapter_that_cannot_be_merged_is_an_error() -> None:
    model = adapted(tiny_llama(), ADAPTERS["attention"])
    with torch.no_grad():
        next(parameter for name, parameter in model.named_parameters() if "lora_B" in name).fill_(torch.inf)
    with pytest.raises(ModelError, match="cannot be merged"):
        merge_adapter(model)
