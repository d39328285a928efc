from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from preftune.demo.reviews.world import ReviewWorld
from preftune.demo.small_model import make_llama, train_tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return train_tokenizer()


def test_training_twice_gives_the_same_tokenizer(tokenizer: PreTrainedTokenizerFast) -> None:
    assert train_tokenizer().backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()


def test_it_has_the_requested_size(tokenizer: PreTrainedTokenizerFast) -> None:
    assert len(tokenizer) == 1536


def test_a_text_begins_with_bos_and_has_no_eos(tokenizer: PreTrainedTokenizerFast) -> None:
    ids = tokenizer("The plot was good.").input_ids
    assert ids[0] == tokenizer.bos_token_id
    assert ids.count(tokenizer.bos_token_id) == 1
    assert tokenizer.eos_token_id not in ids


def test_special_tokens_are_three_different_ones(tokenizer: PreTrainedTokenizerFast) -> None:
    assert len({tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id}) == 3


def test_reviews_come_back_as_they_were(tokenizer: PreTrainedTokenizerFast) -> None:
    for group in ReviewWorld().demonstrations(200, seed=9):
        text = f"{group.prompt}{group.completions[0].content}"
        assert tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True) == text


def test_tokens_of_the_prompt_are_the_first_tokens_of_the_whole(tokenizer: PreTrainedTokenizerFast) -> None:
    for group in ReviewWorld().demonstrations(200, seed=9):
        prompt = tokenizer(group.prompt).input_ids
        assert tokenizer(f"{group.prompt}{group.completions[0].content}").input_ids[: len(prompt)] == prompt


def test_most_words_are_one_token(tokenizer: PreTrainedTokenizerFast) -> None:
    texts = [f"{group.prompt}{group.completions[0].content}" for group in ReviewWorld().demonstrations(200, seed=9)]
    num_words = sum(len(text.split()) for text in texts)
    num_tokens = sum(len(ids) for ids in tokenizer(texts).input_ids)
    assert num_tokens / num_words < 1.25


def test_a_vocabulary_without_room_for_all_bytes_is_refused() -> None:
    with pytest.raises(ValueError, match="vocab_size = 258"):
        train_tokenizer(vocab_size=258)


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
