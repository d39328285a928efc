import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import MambaConfig, MambaForCausalLM

from preftune.errors import ModelError
from preftune.model.forward.model_size import work_of
from tests.builders import tiny_llama
from tests.model.forward.tiny_models import ARCHITECTURES, tiny_model

LENGTH = 32


def operations(model: nn.Module) -> int:
    """Floating point operations of a forward and backward of one row, as PyTorch counts them."""
    with FlopCounterMode(display=False) as counter:
        model(input_ids=torch.arange(LENGTH)[None], use_cache=False).logits.sum().backward()
    return int(counter.get_total_flops())


@pytest.mark.parametrize("tied", [False, True], ids=["own head", "tied head"])
def test_the_work_is_what_pytorch_counts(tied: bool) -> None:
    model = tiny_llama(hidden_size=32, tie_word_embeddings=tied, attn_implementation="eager")
    work = work_of(model)
    # Eager attention computes what a mask then hides: a query by all keys of the row.
    expected = LENGTH * (work.per_token + work.per_target + work.per_attended_key * LENGTH)
    assert operations(model) == pytest.approx(expected, rel=0.02)


def test_frozen_weights_save_a_third() -> None:
    model = tiny_llama(hidden_size=32)
    full = work_of(model)
    adapted = work_of(get_peft_model(model, LoraConfig(r=1, target_modules=["q_proj"])))
    assert adapted.per_target == full.per_target * 2 / 3
    num_adapter_weights = 2 * 2 * 32
    assert adapted.per_token == pytest.approx(full.per_token * 2 / 3 + 6 * num_adapter_weights)
    assert adapted.per_attended_key == full.per_attended_key


def test_embeddings_of_tokens_and_positions_are_looked_up_for_nothing() -> None:
    few, many = (tiny_model("gpt2", n_positions=count, vocab_size=97) for count in (64, 640))
    assert work_of(few) == work_of(many)


def test_a_model_without_attention_has_none() -> None:
    config = MambaConfig(vocab_size=61, hidden_size=16, state_size=4, num_hidden_layers=2)
    assert work_of(MambaForCausalLM(config)).per_attended_key == 0


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_part_of_a_transformer_is_found(name: str) -> None:
    work = work_of(tiny_model(name))
    assert min(work.per_token, work.per_target, work.per_attended_key) > 0


def test_what_is_no_language_model_is_refused() -> None:
    with pytest.raises(ModelError, match="holds no model of transformers"):
        work_of(nn.Linear(2, 2))
