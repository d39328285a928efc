from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from preftune.demo.reviews.tokenizer import train_tokenizer
from preftune.demo.small_model import make_llama


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return train_tokenizer()


def test_the_default_is_a_million_parameters(tokenizer: PreTrainedTokenizerFast) -> None:
    assert 1_000_000 <= make_llama(tokenizer).num_parameters() <= 3_000_000


def test_the_same_seed_gives_the_same_weights_and_does_not_touch_the_generator(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    before = torch.random.get_rng_state()
    first, again, other = (make_llama(tokenizer, hidden_size=32, num_layers=1, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(first.lm_head.weight, again.lm_head.weight)
    assert not torch.equal(first.lm_head.weight, other.lm_head.weight)


def test_special_tokens_are_known_to_model_and_generation(tokenizer: PreTrainedTokenizerFast) -> None:
    model = make_llama(tokenizer, hidden_size=32, num_layers=1)
    for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
        assert getattr(model.config, name) == getattr(tokenizer, name)
        assert getattr(model.generation_config, name) == getattr(tokenizer, name)


def test_it_generates_and_loads_again_with_its_tokenizer(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    model: Any = make_llama(tokenizer, hidden_size=32, num_layers=1)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    loaded: Any = AutoModelForCausalLM.from_pretrained(tmp_path)
    texts = ["The plot", "It was a dull film, and I"]
    written = [
        network.generate(**words(texts, return_tensors="pt", padding=True), max_new_tokens=4, do_sample=False)
        for network, words in ((model, tokenizer), (loaded, AutoTokenizer.from_pretrained(tmp_path)))
    ]
    assert torch.equal(*written)


@pytest.mark.parametrize("hidden_size", [0, 100])
def test_a_width_that_does_not_make_whole_heads_is_refused(
    tokenizer: PreTrainedTokenizerFast, hidden_size: int
) -> None:
    with pytest.raises(ValueError, match=f"hidden_size = {hidden_size}"):
        make_llama(tokenizer, hidden_size=hidden_size)
