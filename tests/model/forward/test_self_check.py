"""The choice between packed rows and one row per completion."""

from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, JambaConfig, MambaConfig, PreTrainedModel

from preftune.model.forward.packed import PackedForward
from preftune.model.forward.packed_batch import pack
from preftune.model.forward.self_check import choose_forward
from preftune.model.forward.sequences import SequencesForward
from tests.model.forward.tiny_models import (
    ARCHITECTURES,
    GROUPS,
    VOCABULARY_SIZE,
    build,
    one_by_one_logps,
    relative_error,
    tiny_model,
    token_groups,
)

DTYPES = [torch.float64, torch.float32, torch.bfloat16]


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_packed_rows_are_used_if_they_are_exact(name: str, dtype: torch.dtype) -> None:
    choice = choose_forward(tiny_model(name, dtype))
    assert isinstance(choice.forward, PackedForward), choice.reason
    assert choice.reason.startswith("packed rows")


def test_float32_weights_under_bfloat16_autocast_pass() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        choice = choose_forward(tiny_model("llama", torch.float32))
    assert isinstance(choice.forward, PackedForward), choice.reason


def test_mamba_falls_back_says_so_and_is_right() -> None:
    model = build(MambaConfig(vocab_size=VOCABULARY_SIZE, hidden_size=16, num_hidden_layers=2, state_size=4))
    choice = choose_forward(model)
    assert choice.forward == SequencesForward()
    assert choice.reason.startswith("one row per completion: ModelError: mamba: no layer used")
    with torch.no_grad():
        found = choice.forward.token_logps(model, pack(GROUPS))
        assert relative_error(found, one_by_one_logps(model, GROUPS)) < 1e-5


def test_jamba_which_mixes_attention_with_state_falls_back() -> None:
    model = build(
        JambaConfig(
            vocab_size=VOCABULARY_SIZE, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=2, attn_layer_period=2, attn_layer_offset=1,
            num_experts=2, num_experts_per_tok=1, use_mamba_kernels=False, mamba_d_state=4, pad_token_id=0,
        ),
        torch.float32,
    )  # fmt: skip
    choice = choose_forward(model)
    assert choice.forward == SequencesForward()
    assert "mixes tokens outside attention" in choice.reason or "layers of type" in choice.reason


class Carrying(nn.Module):
    """A layer that mixes a share of the token before into each token, as a convolution or a state does."""

    def __init__(self, layer: nn.Module, share: float) -> None:
        super().__init__()
        self.layer = layer
        self.share = share

    def forward(self, hidden: Tensor, *inputs: Any, **others: Any) -> Any:
        before = torch.cat([torch.zeros_like(hidden[:, :1]), hidden[:, :-1]], 1)
        return self.layer(hidden + self.share * before, *inputs, **others)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("share", [0.5, 0.05])
@pytest.mark.parametrize("fresh", [False, True])
def test_a_leak_between_siblings_is_caught_in_any_dtype(dtype: torch.dtype, share: float, fresh: bool) -> None:
    name, settings = ARCHITECTURES["llama"]
    config = getattr(transformers, name)(**settings)
    model: PreTrainedModel = (
        AutoModelForCausalLM.from_config(config, dtype=dtype) if fresh else tiny_model("llama", dtype)
    )
    assert isinstance(choose_forward(model).forward, PackedForward)
    layers = model.get_submodule("model.layers")
    assert isinstance(layers, nn.ModuleList)
    layers[0] = Carrying(layers[0], share)
    choice = choose_forward(model)
    assert choice.forward == SequencesForward()
    assert "mixes tokens outside attention" in choice.reason


def test_a_model_that_raises_falls_back_with_its_message() -> None:
    model = tiny_model("llama")

    def refusing(_module: nn.Module, inputs: object, keywords: dict[str, Any]) -> None:
        if "packed_plan" in keywords:
            raise TypeError("unexpected keyword argument 'packed_plan'")

    model.register_forward_pre_hook(refusing, with_kwargs=True)
    choice = choose_forward(model)
    assert choice.forward == SequencesForward()
    assert choice.reason == "one row per completion: TypeError: unexpected keyword argument 'packed_plan'"


def test_the_model_is_left_as_it_was() -> None:
    model = tiny_model("llama")
    model.train()
    model.get_submodule("model.layers.0").eval()
    before = [module.training for module in model.modules()]
    choose_forward(model)
    assert [module.training for module in model.modules()] == before
    assert all(parameter.grad is None for parameter in model.parameters())


def test_own_groups_are_used() -> None:
    model = tiny_model("llama")
    assert isinstance(choose_forward(model, groups=GROUPS).forward, PackedForward)


def test_groups_of_single_completions_will_do() -> None:
    choice = choose_forward(tiny_model("llama"), groups=token_groups([(5, (4,)), (2, (6,))]))
    assert isinstance(choice.forward, PackedForward), choice.reason
