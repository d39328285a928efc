import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import nn
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from preftune.model.forward.packed import PackedForward
from preftune.model.forward.sequences import SequencesForward
from preftune.model.generation.completions import Generation, generate
from preftune.model.generation.sample_values import SampleValues, sample_values, sampled_kl
from preftune.model.reference.logps import Runner
from preftune.model.reference.reference import FrozenCopy, NoReference
from tests.builders import tiny_llama
from tests.data.tokenizers_for_tests import make_tokenizer

PROMPTS = ["What is", "Who is the", "How do I bake a cake"]


@pytest.fixture(scope="module")
def policy() -> nn.Module:
    torch.manual_seed(0)
    model: nn.Module = tiny_llama(vocab_size=len(make_tokenizer()), eos_token_id=0).eval()
    return model


@pytest.fixture(scope="module")
def reference() -> FrozenCopy:
    torch.manual_seed(1)
    return FrozenCopy(tiny_llama(vocab_size=len(make_tokenizer()), eos_token_id=0).eval())


@pytest.fixture(scope="module")
def drawn(policy: nn.Module) -> list[list[Generation]]:
    return generate(policy, make_tokenizer(), PROMPTS, max_new_tokens=6)  # type: ignore[arg-type]


def test_the_kl_is_that_of_sampled_kl(policy: nn.Module, reference: FrozenCopy, drawn: list[list[Generation]]) -> None:
    found = sample_values(policy, reference, drawn, Runner(PackedForward())).kl
    expected = sampled_kl(policy, reference, drawn, Runner(SequencesForward()))
    assert found is not None
    assert found.num_samples == 3
    assert found.mean == pytest.approx(expected.mean, abs=1e-4)
    assert found.standard_error == pytest.approx(expected.standard_error, abs=1e-4)


def test_the_entropy_is_that_of_the_models_own_logits(policy: nn.Module, drawn: list[list[Generation]]) -> None:
    found = sample_values(policy, NoReference(), drawn, Runner(PackedForward()))
    assert found.kl is None
    for row, (sample,) in enumerate(drawn):
        ids = torch.tensor([[*sample.prompt_ids, *sample.completion_ids]])
        with torch.no_grad():
            logps = policy(ids).logits[0, len(sample.prompt_ids) - 1 : -1].double().log_softmax(-1)
        assert found.entropy[row].item() == pytest.approx(-(logps.exp() * logps).sum().item(), abs=1e-4)
        assert found.num_tokens[row] == len(sample.completion_ids)


def test_each_token_counts_the_same_in_the_entropy() -> None:
    values = SampleValues(torch.tensor([1.0, 3.0]), torch.tensor([4.0, 0.0]), None)
    assert values.entropy_per_token == 1.0


WORDS = {"end": 0, "a": 1, "b": 2, "c": 3}
LENGTH = 3


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.WordLevel(WORDS, unk_token="c"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="end")


def model_of(seed: int) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    sizes: dict[str, Any] = {"vocab_size": len(WORDS), "num_hidden_layers": 1, "initializer_range": 0.5}
    model = tiny_llama(**sizes, eos_token_id=0, bos_token_id=None, pad_token_id=None)
    model.eval()
    return model


def all_completions() -> list[tuple[int, ...]]:
    """Every completion of at most LENGTH tokens: those that end, and those that are cut off."""
    words = [ids for length in range(1, LENGTH + 1) for ids in itertools.product(WORDS.values(), repeat=length)]
    return [ids for ids in words if 0 not in ids[:-1] and (ids[-1] == 0 or len(ids) == LENGTH)]


def logp(model: LlamaForCausalLM, prompt: list[int], completion: tuple[int, ...]) -> float:
    with torch.no_grad():
        logps = model(torch.tensor([[*prompt, *completion]])).logits[0].double().log_softmax(-1)
    return math.fsum(logps[len(prompt) - 1 + place, token].item() for place, token in enumerate(completion))


def exact_kl(policy: LlamaForCausalLM, reference: LlamaForCausalLM, prompt: list[int]) -> float:
    pairs = [(logp(policy, prompt, ids), logp(reference, prompt, ids)) for ids in all_completions()]
    assert math.fsum(math.exp(own) for own, _ in pairs) == pytest.approx(1, abs=1e-5)
    return math.fsum(math.exp(own) * (own - other) for own, other in pairs)


def test_the_estimate_agrees_with_the_kl_summed_over_all_completions(tokenizer: PreTrainedTokenizerFast) -> None:
    policy, reference = model_of(1), model_of(2)
    generations = generate(policy, tokenizer, ["a b"], max_new_tokens=LENGTH, num_samples=2000, seed=3)
    estimate = sampled_kl(policy, FrozenCopy(reference), generations, Runner(SequencesForward()))
    exact = exact_kl(policy, reference, [1, 2])
    assert exact > 0.2
    assert estimate.num_samples == 2000
    assert estimate.standard_error < 0.1 * exact
    assert abs(estimate.mean - exact) < 4 * estimate.standard_error


def test_with_many_prompts_their_means_are_the_independent_values(tokenizer: PreTrainedTokenizerFast) -> None:
    policy, reference = model_of(1), model_of(2)
    prompts = [" ".join(words) for words in itertools.product("abc", repeat=3)]
    generations = generate(policy, tokenizer, prompts, max_new_tokens=LENGTH, num_samples=30, seed=4)
    estimate = sampled_kl(policy, FrozenCopy(reference), generations, Runner(SequencesForward()))
    exact = [exact_kl(policy, reference, [WORDS[word] for word in prompt.split()]) for prompt in prompts]
    assert estimate.num_samples == len(prompts)
    assert abs(estimate.mean - sum(exact) / len(exact)) < 4 * estimate.standard_error


def test_the_budget_does_not_change_the_estimate(tokenizer: PreTrainedTokenizerFast) -> None:
    policy, reference = model_of(1), FrozenCopy(model_of(2))
    generations = generate(policy, tokenizer, ["a", "a b c", "b"], max_new_tokens=LENGTH, num_samples=4)
    whole = sampled_kl(policy, reference, generations, Runner(SequencesForward()))
    for max_tokens in (1, 20, 60):
        cut = sampled_kl(policy, reference, generations, Runner(SequencesForward(), max_tokens=max_tokens))
        assert cut.mean == pytest.approx(whole.mean, abs=1e-6)
        assert cut.standard_error == pytest.approx(whole.standard_error, abs=1e-6)


def test_a_policy_is_at_no_distance_from_itself(tokenizer: PreTrainedTokenizerFast) -> None:
    policy = model_of(1).train()
    generations = generate(policy, tokenizer, ["a"], max_new_tokens=LENGTH, num_samples=5)
    estimate = sampled_kl(policy, FrozenCopy(model_of(1)), generations, Runner(SequencesForward()))
    assert estimate.mean == pytest.approx(0, abs=1e-6)
    assert policy.training


def test_without_a_reference_there_is_no_kl(tokenizer: PreTrainedTokenizerFast) -> None:
    generations = generate(model_of(1), tokenizer, ["a"], max_new_tokens=2)
    with pytest.raises(ValueError, match="the reference gives no log-probs"):
        sampled_kl(model_of(1), NoReference(), generations, Runner(SequencesForward()))


def test_generations_come_one_list_per_prompt() -> None:
    def ids(*values: int) -> np.ndarray:
        return np.array(values, dtype=np.int32)

    policy = model_of(1)
    one, other = Generation(ids(1), ids(0), "", True), Generation(ids(2), ids(0), "", True)
    for generations, problem in (([], "is empty"), ([[]], "has no samples"), ([[one, other]], "mixes samples")):
        with pytest.raises(ValueError, match=problem):
            sampled_kl(policy, FrozenCopy(policy), generations, Runner(SequencesForward()))
