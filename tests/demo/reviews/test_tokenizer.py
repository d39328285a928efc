import pytest
from transformers import PreTrainedTokenizerFast

from preftune.demo.reviews.tokenizer import train_tokenizer
from preftune.demo.reviews.world import ReviewWorld


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
