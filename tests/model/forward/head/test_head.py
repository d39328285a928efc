"""Discovery of heads."""

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import PreTrainedModel

from preftune.model.forward.head.head import find_head
from preftune.model.forward.packed import PackedForward
from preftune.model.forward.packed_batch import pack
from tests.model.forward.tiny_models import GROUPS, one_by_one_logps, relative_error, tiny_model


@pytest.mark.parametrize(
    ("name", "changes", "scale", "softcap"),
    [
        ("llama", {}, 1.0, None),
        ("llama_tied_biased", {}, 1.0, None),
        ("gemma2", {}, 1.0, 3.0),
        ("gemma2", {"final_logit_softcapping": None}, 1.0, None),
        ("cohere2", {"logit_scale": 0.25}, 0.25, None),
        ("granite", {"logits_scaling": 4.0}, 0.25, None),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_scale_and_soft_cap_are_found(
    name: str, changes: dict[str, Any], scale: float, softcap: float | None, dtype: torch.dtype
) -> None:
    model = tiny_model(name, dtype, **changes)
    head = find_head(model, model)
    assert head is not None
    assert (head.scale, head.softcap) == (scale, softcap)


def with_unknown_head(model: PreTrainedModel) -> PreTrainedModel:
    """A model that does something to its logits that no setting tells."""

    def squared(_module: nn.Module, _inputs: object, output: Any) -> Any:
        output.logits = output.logits**2
        return output

    model.register_forward_hook(squared)
    return model


def test_a_model_that_does_more_to_its_logits_is_unknown_and_still_right() -> None:
    model = with_unknown_head(tiny_model("llama"))
    assert find_head(model, model) is None
    with torch.no_grad():
        found = PackedForward().token_logps(model, pack(GROUPS))
        assert relative_error(found, one_by_one_logps(model, GROUPS)) < 1e-6


def test_a_setting_that_the_model_ignores_is_not_believed() -> None:
    model = tiny_model("llama")
    model.config.final_logit_softcapping = 5.0
    head = find_head(model, model)
    assert head is not None
    assert head.softcap is None


def test_an_adapter_on_the_head_makes_it_unknown() -> None:
    model = tiny_model("llama")
    wrapped = get_peft_model(model, LoraConfig(r=2, target_modules=["lm_head"]))
    assert find_head(wrapped, model) is None


def test_the_model_runs_once_per_head() -> None:
    model = tiny_model("llama")
    calls: list[object] = []
    model.register_forward_pre_hook(lambda *_: calls.append(1))
    first, second = find_head(model, model), find_head(model, model)
    assert first == second
    assert len(calls) == 1
