from collections.abc import Sequence

import pytest
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from preftune.errors import ConfigError, DataError, TokenizerError
from preftune.groups import Message
from preftune.model.generation.completions import Generation, generate
from tests.builders import tiny_llama
from tests.data.tokenizers_for_tests import EOS, make_tokenizer

PROMPTS = ["What is the capital", "How do I bake a cake and how long?", "Two"]


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return make_tokenizer()


@pytest.fixture(scope="module")
def model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    torch.manual_seed(0)
    model = tiny_llama(
        vocab_size=len(tokenizer), num_hidden_layers=1, eos_token_id=tokenizer.eos_token_id, pad_token_id=None
    )
    model.eval()
    return model


def texts(generations: Sequence[Sequence[Generation]]) -> list[list[str]]:
    return [[generation.text for generation in samples] for samples in generations]


def test_there_are_so_many_samples_per_prompt_in_the_order_of_the_prompts(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    generations = generate(model, tokenizer, PROMPTS, max_new_tokens=5, num_samples=2)
    assert [len(samples) for samples in generations] == [2, 2, 2]
    for prompt, samples in zip(PROMPTS, generations, strict=True):
        for generation in samples:
            assert tokenizer.decode(generation.prompt_ids.tolist()) == prompt
            assert generation.text == tokenizer.decode(generation.completion_ids.tolist(), skip_special_tokens=True)
            assert 1 <= len(generation.completion_ids) <= 5


def test_greedy_decoding_takes_the_most_likely_token_for_any_padding(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    together = generate(model, tokenizer, PROMPTS, max_new_tokens=6, temperature=0)
    apart = generate(model, tokenizer, PROMPTS, max_new_tokens=6, temperature=0, batch_tokens=1)
    assert texts(together) == texts(apart)
    for (generation,) in together:
        ids = torch.tensor([[*generation.prompt_ids.tolist(), *generation.completion_ids.tolist()]])
        with torch.no_grad():
            likeliest = model(ids).logits[0, len(generation.prompt_ids) - 1 : -1].argmax(-1)
        assert likeliest.tolist() == generation.completion_ids.tolist()


@pytest.mark.parametrize(("greedy", "batch_tokens"), [((1,), 16_384), ((0, 2), 16_384), ((0, 1, 2), 1)])
def test_some_prompts_of_a_batch_are_completed_greedily(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, greedy: tuple[int, ...], batch_tokens: int
) -> None:
    best = texts(generate(model, tokenizer, PROMPTS, max_new_tokens=8, temperature=0))
    mixed = texts(
        generate(model, tokenizer, PROMPTS, max_new_tokens=8, greedy=greedy, batch_tokens=batch_tokens, top_k=50)
    )
    assert [mixed[place] == best[place] for place in range(3)] == [place in greedy for place in range(3)]


def test_a_seed_repeats_the_samples_and_does_not_touch_the_global_generator(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    before = torch.random.get_rng_state()
    first = texts(generate(model, tokenizer, PROMPTS, max_new_tokens=5, seed=1))
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.rand(3)
    assert texts(generate(model, tokenizer, PROMPTS, max_new_tokens=5, seed=1)) == first
    assert texts(generate(model, tokenizer, PROMPTS, max_new_tokens=5, seed=2)) != first


def test_a_completion_ends_behind_its_first_end_of_sequence_token(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    generations = generate(model, tokenizer, ["Two"], max_new_tokens=200, num_samples=40)
    eos = tokenizer.eos_token_id
    assert {generation.finished for generation in generations[0]} == {True, False}
    for generation in generations[0]:
        ids = generation.completion_ids.tolist()
        assert eos not in ids[:-1]
        assert generation.finished == (ids[-1] == eos)
        assert EOS not in generation.text
        assert generation.finished or len(ids) == 200


def test_the_end_tokens_of_the_model_count_too(tokenizer: PreTrainedTokenizerFast) -> None:
    model = tiny_llama(vocab_size=len(tokenizer), num_hidden_layers=1)
    assert model.generation_config is not None
    model.generation_config.eos_token_id = list(range(1, 200))
    (samples,) = generate(model, tokenizer, ["Two"], max_new_tokens=100, num_samples=4)
    assert all(sample.finished for sample in samples)
    assert any(sample.completion_ids[-1] != tokenizer.eos_token_id for sample in samples)


def test_the_generation_config_of_the_model_changes_nothing_and_stays(tokenizer: PreTrainedTokenizerFast) -> None:
    model = tiny_llama(vocab_size=len(tokenizer), num_hidden_layers=1, eos_token_id=tokenizer.eos_token_id)
    plain = texts(generate(model, tokenizer, PROMPTS, max_new_tokens=8))
    config = model.generation_config
    assert config is not None
    config.repetition_penalty, config.top_k, config.temperature, config.no_repeat_ngram_size = 5.0, 1, 0.1, 1
    assert texts(generate(model, tokenizer, PROMPTS, max_new_tokens=8)) == plain
    assert model.generation_config is config


def test_a_model_in_training_stays_in_training_mode_and_without_cache(tokenizer: PreTrainedTokenizerFast) -> None:
    model = tiny_llama(vocab_size=len(tokenizer), num_hidden_layers=1, attention_dropout=0.5).train()
    model.config.use_cache = False
    model.lm_head.eval()
    first = texts(generate(model, tokenizer, PROMPTS, max_new_tokens=4, temperature=0))
    assert texts(generate(model, tokenizer, PROMPTS, max_new_tokens=4, temperature=0)) == first  # no dropout
    assert model.training
    assert not model.lm_head.training
    assert model.config.use_cache is False


def test_conversations_go_through_the_chat_template(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    ((generation,),) = generate(model, tokenizer, [(Message("user", "Two?"),)], max_new_tokens=2)
    rendered = tokenizer.decode(generation.prompt_ids.tolist())
    assert rendered == "<|im_start|>user\nTwo?<|im_end|>\n<|im_start|>assistant\n"


def test_conversations_need_a_chat_template(model: LlamaForCausalLM) -> None:
    with pytest.raises(TokenizerError, match="prompt 1: is a conversation, but the tokenizer has no chat template"):
        generate(model, make_tokenizer(chat_template=None), [(Message("user", "Two?"),)])


def test_an_end_of_sequence_token_that_the_tokenizer_appends_is_taken_off(model: LlamaForCausalLM) -> None:
    ((generation,),) = generate(model, make_tokenizer(post_processing=f"$A {EOS}"), ["Two"], max_new_tokens=2)
    assert generation.prompt_ids.tolist() == make_tokenizer()("Two")["input_ids"]


def test_an_empty_prompt_needs_a_beginning_of_sequence_token(model: LlamaForCausalLM) -> None:
    ((generation,),) = generate(model, make_tokenizer(bos="<|start|>"), [""], max_new_tokens=2)
    assert len(generation.prompt_ids) == 1
    with pytest.raises(DataError, match="prompt 1: has no tokens"):
        generate(model, make_tokenizer(), [""])


def test_more_tokens_than_the_model_has_positions_for_are_refused(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    with pytest.raises(ConfigError, match=r"model has positions for 256\. Set it to 2\d\d or less"):
        generate(model, tokenizer, PROMPTS, max_new_tokens=256)


def test_a_tokenizer_of_another_model_is_refused(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(TokenizerError, match="embedding has 61 rows"):
        generate(tiny_llama(num_hidden_layers=1), tokenizer, PROMPTS, max_new_tokens=2)


def test_samples_at_temperature_0_would_all_be_the_same(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    with pytest.raises(ConfigError, match="at temperature 0 all samples are the same"):
        generate(model, tokenizer, PROMPTS, temperature=0, num_samples=2)


def test_no_prompts_give_no_completions(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    assert generate(model, tokenizer, []) == []
