import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import LlamaForCausalLM

from preftune.model.forward.arithmetic import Arithmetic
from preftune.model.reference.fingerprint import fingerprint_model, fingerprint_reference
from preftune.model.reference.reference import AdapterOff, FrozenCopy, KeptAdapter, NoReference
from tests.builders import tiny_llama

PLAIN = Arithmetic(torch.device("cpu"))


def digest(model: Any, adapters: tuple[str, ...] = ()) -> bytes:
    return fingerprint_model(model, adapters, arithmetic=PLAIN, layout="packed").digest


def adapted(model: LlamaForCausalLM, **settings: Any) -> PeftModel:
    model = copy.deepcopy(model)
    config = LoraConfig(**{"r": 2, "target_modules": "all-linear", "task_type": "CAUSAL_LM", **settings})
    made = get_peft_model(model, config)
    assert isinstance(made, PeftModel)
    return made


def one_bit_off(model: LlamaForCausalLM) -> None:
    weight = model.model.layers[1].mlp.up_proj.weight
    with torch.no_grad():
        weight[0, 0] = torch.nextafter(weight[0, 0], torch.tensor(torch.inf))


def swapped_weights(model: LlamaForCausalLM) -> None:
    attention = model.model.layers[0].self_attn
    attention.q_proj, attention.k_proj = attention.k_proj, attention.q_proj


def other_rope(model: LlamaForCausalLM) -> None:
    model.config.rope_parameters = {"rope_theta": 10000.0, "rope_type": "linear", "factor": 2.0}


def other_buffer(model: LlamaForCausalLM) -> None:
    inv_freq = model.model.rotary_emb.inv_freq
    assert isinstance(inv_freq, torch.Tensor)
    inv_freq.mul_(0.5)


def test_the_same_model_loaded_again_has_the_same_fingerprint() -> None:
    model = tiny_llama()
    again = copy.deepcopy(model)
    again.config.use_cache = False
    again.config.name_or_path = "elsewhere"
    assert digest(model) == digest(again)


@pytest.mark.parametrize("change", [one_bit_off, swapped_weights, other_rope, other_buffer])
def test_changes_to_the_function_of_a_model_change_its_fingerprint(
    change: Callable[[LlamaForCausalLM], None],
) -> None:
    model = tiny_llama()
    before = digest(model)
    change(model)
    assert digest(model) != before


def test_types_of_weights_and_of_arithmetic_and_layouts_do_not_share_entries() -> None:
    model = tiny_llama()
    in_bfloat16 = Arithmetic(torch.device("cpu"), torch.bfloat16)
    found = [
        fingerprint_model(model, arithmetic=PLAIN, layout="packed"),
        fingerprint_model(model, arithmetic=PLAIN, layout="sequences"),
        fingerprint_model(model, arithmetic=in_bfloat16, layout="packed"),
        fingerprint_model(copy.deepcopy(model).bfloat16(), arithmetic=PLAIN, layout="packed"),
    ]
    assert len({fingerprint.digest for fingerprint in found}) == 4
    assert found[2].description == "float32 weights, cpu, bfloat16 products, packed"
    assert found[3].description == "bfloat16 weights, cpu, packed"


def test_a_base_model_is_the_same_by_itself_and_behind_any_adapter_that_is_off() -> None:
    model = tiny_llama()
    policies = [adapted(model), adapted(model, r=4), adapted(model, modules_to_save=["lm_head"])]
    for policy in policies:
        found = fingerprint_reference(AdapterOff(), policy, arithmetic=PLAIN, layout="packed")
        assert found.digest == digest(model)
    in_use = fingerprint_reference(FrozenCopy(model), policies[0], arithmetic=PLAIN, layout="packed")
    assert in_use.digest == digest(model)


def test_a_kept_adapter_has_its_own_fingerprint_under_any_name() -> None:
    model = tiny_llama()
    policy = adapted(model)
    policy.add_adapter("reference", policy.peft_config["default"])
    trained = {name: value for name, value in policy.state_dict().items() if ".default." in name}
    copied = {name.replace("default", "reference"): value for name, value in trained.items()}
    policy.load_state_dict(copied, strict=False)
    kept = fingerprint_reference(KeptAdapter("default", "reference"), policy, arithmetic=PLAIN, layout="packed")
    assert kept.digest == digest(policy, ("default",))
    assert kept.digest != digest(model)
    with torch.no_grad():
        next(value for name, value in policy.named_parameters() if "lora_B.reference" in name).add_(1.0)
    assert digest(policy, ("reference",)) != kept.digest
    assert digest(policy, ("default",)) == kept.digest


def test_the_scale_of_an_adapter_counts() -> None:
    model = tiny_llama()
    torch.manual_seed(0)
    weak = adapted(model, lora_alpha=2)
    torch.manual_seed(0)
    strong = adapted(model, lora_alpha=64)
    assert digest(weak, ("default",)) != digest(strong, ("default",))


def test_no_reference_has_no_fingerprint() -> None:
    with pytest.raises(TypeError, match="NoReference runs no model"):
        fingerprint_reference(NoReference(), tiny_llama(), arithmetic=PLAIN, layout="packed")
