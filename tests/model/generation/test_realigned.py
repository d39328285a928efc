"""Draws from the mix of policy and reference, on models whose completions can all be listed."""

import copy
import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from preftune.errors import ConfigError, ModelError
from preftune.model.forward.packed import PackedForward
from preftune.model.forward.packed_batch import pack
from preftune.model.forward.realigned import RealignedForward, mixed_logits
from preftune.model.forward.sequences import SequencesForward
from preftune.model.generation.completions import Generation, generate
from preftune.model.generation.realigned import Realignment
from preftune.model.generation.sample_values import groups_of_samples, sampled_kl
from preftune.model.reference.logps import Runner
from preftune.model.reference.reference import AdapterOff, ComputedBy, FrozenCopy
from tests.builders import tiny_llama
from tests.data.tokenizers_for_tests import make_tokenizer
from tests.model.forward.head.test_token_values import other_weights
from tests.model.forward.tiny_models import tiny_model
from tests.model.generation.test_sample_values import LENGTH, WORDS, all_completions, model_of
from tests.model.generation.test_sample_values import tokenizer as words  # noqa: F401

PROMPTS = ["What is the capital", "How do I bake a cake and how long?", "Two"]
NUM_SAMPLES = 4000
NUM_WORDS = len(WORDS)


def next_logps(model: nn.Module, ids: Sequence[int]) -> Tensor:
    """Log-probs of the token that follows, without cache and padding. Shape: (vocabulary,)."""
    with torch.no_grad():
        logits: Tensor = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1]
    return logits.double().log_softmax(-1)


def logp_of_mix(policy: nn.Module, reference: nn.Module, ids: Sequence[int], num_prompt: int, strength: float) -> float:
    """Log-prob of a completion, token by token, as the formula says."""
    found = 0.0
    for place in range(num_prompt, len(ids)):
        mix = strength * next_logps(policy, ids[:place]) + (1 - strength) * next_logps(reference, ids[:place])
        found += float(mix.log_softmax(-1)[ids[place]])
    return found


def texts(drawn: Sequence[Sequence[Generation]]) -> list[list[str]]:
    return [[sample.text for sample in samples] for samples in drawn]


def with_adapter(model: PreTrainedModel, **settings: Any) -> PeftModel:
    """With an adapter that changes it."""
    torch.manual_seed(1)
    found = get_peft_model(model, LoraConfig(r=4, lora_alpha=16, init_lora_weights=False, **settings))
    found.eval()
    return found


@pytest.mark.parametrize("strength", [0.0, 0.4, 1.0, 2.0])
def test_completions_are_drawn_as_often_as_the_mix_says(words: PreTrainedTokenizerFast, strength: float) -> None:  # noqa: F811
    policy, reference = model_of(1), model_of(2)
    (samples,) = generate(
        policy, words, ["a b"], max_new_tokens=LENGTH, num_samples=NUM_SAMPLES, seed=3,
        realignment=Realignment(FrozenCopy(reference), strength),
    )  # fmt: skip
    counts = dict.fromkeys(all_completions(), 0)
    for sample in samples:
        counts[tuple(sample.completion_ids.tolist())] += 1
    exact = {ids: math.exp(logp_of_mix(policy, reference, [1, 2, *ids], 2, strength)) for ids in counts}
    assert math.fsum(exact.values()) == pytest.approx(1, abs=1e-6)
    errors = []
    for ids, count in counts.items():
        deviation = math.sqrt(exact[ids] * (1 - exact[ids]) / NUM_SAMPLES)
        errors.append((count / NUM_SAMPLES - exact[ids]) / deviation)
    assert max(map(abs, errors)) < 4.5
    assert sum(abs(error) < 1.96 for error in errors) / len(errors) > 0.85


@pytest.mark.parametrize("inner", [PackedForward(), SequencesForward()])
@pytest.mark.parametrize("strength", [0.0, 0.4, 1.0, 2.0])
def test_log_probs_of_what_is_drawn_are_those_it_was_drawn_with(
    words: PreTrainedTokenizerFast,  # noqa: F811
    strength: float,
    inner: PackedForward | SequencesForward,
) -> None:
    policy, reference = model_of(1), model_of(2)
    mix = Realignment(FrozenCopy(reference), strength)
    drawn = generate(policy, words, ["a b", "c"], max_new_tokens=LENGTH, num_samples=20, realignment=mix)
    batch = pack(groups_of_samples(drawn))
    found = batch.sum_by_completion(RealignedForward(inner, mix.reference, strength).token_logps(policy, batch))
    expected = [
        logp_of_mix(policy, reference, [*sample.prompt_ids, *sample.completion_ids], len(sample.prompt_ids), strength)
        for samples in drawn
        for sample in samples
    ]
    assert found.tolist() == pytest.approx(expected, abs=1e-5)


def test_the_kl_of_the_mix_to_the_reference_agrees_with_the_sum_over_all_completions(
    words: PreTrainedTokenizerFast,  # noqa: F811
) -> None:
    policy, held = model_of(1), model_of(2)
    mix, forward = Realignment(FrozenCopy(held), 0.5), PackedForward()
    drawn = generate(policy, words, ["a b"], max_new_tokens=LENGTH, num_samples=2000, seed=3, realignment=mix)
    reference = ComputedBy(forward, mix.reference)
    found = sampled_kl(policy, reference, drawn, Runner(RealignedForward(forward, mix.reference, mix.strength)))
    logps = [
        [logp_of_mix(policy, held, [1, 2, *ids], 2, strength) for strength in (0.5, 0)] for ids in all_completions()
    ]
    exact = math.fsum(math.exp(own) * (own - other) for own, other in logps)
    assert exact > 0.1
    assert abs(found.mean - exact) < 3 * found.standard_error < 0.5 * exact


def policy_and_mix(kind: str, vocab_size: int) -> tuple[PreTrainedModel | PeftModel, nn.Module, Realignment]:
    """A policy, its reference as a model by itself, and the mix of both."""
    if kind == "adapter off":
        plain = tiny_llama(vocab_size=vocab_size, eos_token_id=None)
        reference = copy.deepcopy(plain).eval()
        return with_adapter(plain, target_modules="all-linear"), reference, Realignment(AdapterOff(), 1.7)
    if kind == "kept head":
        plain = tiny_llama(vocab_size=vocab_size, eos_token_id=None)
        reference = copy.deepcopy(plain).eval()
        policy = with_adapter(plain, target_modules=["q_proj", "embed_tokens"], modules_to_save=["lm_head"])
        with torch.no_grad():
            policy.get_output_embeddings().weight.mul_(1.5)
        return policy, reference, Realignment(AdapterOff(), 0.6)
    model = tiny_model(kind, torch.float32, vocab_size=vocab_size, eos_token_id=None)
    model.set_attn_implementation("eager")
    other = other_weights(model)
    return model, other, Realignment(FrozenCopy(other), 1.7)


@pytest.mark.parametrize("kind", ["llama", "gemma2", "gpt2", "opt", "adapter off", "kept head"])
def test_greedy_decoding_takes_the_most_likely_token_of_the_mix_for_any_padding(kind: str) -> None:
    tokenizer = make_tokenizer()
    policy, reference, mix = policy_and_mix(kind, len(tokenizer))
    settings: dict[str, Any] = {"max_new_tokens": 12, "temperature": 0, "realignment": mix}
    together = generate(policy, tokenizer, PROMPTS, **settings)
    apart = generate(policy, tokenizer, PROMPTS, **settings, batch_tokens=1)
    assert texts(together) == texts(apart)
    num_changed = 0
    for (sample,) in together:
        ids = [*sample.prompt_ids.tolist(), *sample.completion_ids.tolist()]
        for place in range(len(sample.prompt_ids), len(ids)):
            own, other = next_logps(policy, ids[:place]), next_logps(reference, ids[:place])
            likeliest = int((mix.strength * own + (1 - mix.strength) * other).argmax())
            assert ids[place] == likeliest
            num_changed += likeliest != int(own.argmax())
    assert num_changed > 0  # so the policy alone would have failed


def test_temperature_top_p_and_top_k_are_applied_to_the_mix() -> None:
    tokenizer = make_tokenizer()
    policy, _, mix = policy_and_mix("llama", len(tokenizer))
    settings: dict[str, Any] = {"max_new_tokens": 8, "realignment": mix}
    likeliest = texts(generate(policy, tokenizer, PROMPTS, temperature=0, **settings))
    for narrow in ({"top_k": 1}, {"top_p": 1e-6}, {"temperature": 1e-6}):
        assert texts(generate(policy, tokenizer, PROMPTS, **narrow, **settings)) == likeliest
    assert texts(generate(policy, tokenizer, PROMPTS, **settings)) != likeliest


def test_strength_1_draws_what_the_policy_draws_and_0_what_the_reference_draws() -> None:
    tokenizer = make_tokenizer()
    policy, _, mix = policy_and_mix("llama", len(tokenizer))
    assert isinstance(mix.reference, FrozenCopy)
    settings: dict[str, Any] = {"max_new_tokens": 10, "num_samples": 3, "batch_tokens": 200}
    of_both = [texts(generate(model, tokenizer, PROMPTS, **settings)) for model in (policy, mix.reference.model)]
    assert of_both[0] != of_both[1]
    settings["batch_tokens"] = 400  # the same batches where two caches are kept
    mixed = texts(generate(policy, tokenizer, PROMPTS, **settings, realignment=Realignment(mix.reference, 0)))
    assert mixed == of_both[1]
    settings["batch_tokens"] = 200
    mixed = texts(generate(policy, tokenizer, PROMPTS, **settings, realignment=Realignment(mix.reference, 1)))
    assert mixed == of_both[0]


def test_either_model_is_given_one_new_token_per_row_and_step() -> None:
    tokenizer = make_tokenizer()
    policy, reference, mix = policy_and_mix("llama", len(tokenizer))
    widths: dict[str, list[int]] = {"policy": [], "reference": []}
    for name, model in (("policy", policy), ("reference", reference)):
        model.register_forward_pre_hook(
            lambda _module, _inputs, named, name=name: widths[name].append(named["input_ids"].shape[1]),
            with_kwargs=True,
        )
    ((sample,),) = generate(policy, tokenizer, PROMPTS[:1], max_new_tokens=5, temperature=0, realignment=mix)
    assert widths["policy"] == widths["reference"] == [len(sample.prompt_ids), 1, 1, 1, 1]


def test_two_caches_take_twice_the_memory_of_a_batch() -> None:
    tokenizer = make_tokenizer()
    policy, _, mix = policy_and_mix("llama", len(tokenizer))
    rows: list[int] = []
    policy.register_forward_pre_hook(
        lambda _module, _inputs, named: rows.append(len(named["input_ids"])), with_kwargs=True
    )
    width = len(tokenizer("Two")["input_ids"]) + 1
    settings: dict[str, Any] = {"max_new_tokens": 1, "num_samples": 8, "batch_tokens": 8 * width}
    generate(policy, tokenizer, ["Two"], **settings)
    generate(policy, tokenizer, ["Two"], **settings, realignment=mix)
    assert rows == [8, 4, 4]


def test_an_adapter_is_as_it_was_afterwards() -> None:
    tokenizer = make_tokenizer()
    policy, _, mix = policy_and_mix("adapter off", len(tokenizer))
    ids = torch.tensor([[5, 6, 7]])
    for trains in (True, False):
        for parameter in policy.parameters():
            parameter.requires_grad_(trains and parameter.requires_grad)
        policy.train(trains)
        weights = {name: (id(tensor), tensor.requires_grad) for name, tensor in policy.named_parameters()}
        before = policy(ids).logits
        generate(policy, tokenizer, PROMPTS, max_new_tokens=3, realignment=mix)
        assert policy.training == trains
        assert {name: (id(tensor), tensor.requires_grad) for name, tensor in policy.named_parameters()} == weights
        assert torch.equal(policy(ids).logits, before)


def test_models_with_unlike_vocabularies_are_refused() -> None:
    tokenizer = make_tokenizer()
    reference = tiny_llama(vocab_size=len(tokenizer) + 1, num_hidden_layers=1)
    with pytest.raises(ModelError, match=r"cannot be mixed\. Name the model that this one was tuned from"):
        generate(
            tiny_llama(vocab_size=len(tokenizer), num_hidden_layers=1), tokenizer, PROMPTS, max_new_tokens=2,
            realignment=Realignment(FrozenCopy(reference), 0.5),
        )  # fmt: skip


def test_the_reference_must_have_positions_for_the_completions_too() -> None:
    tokenizer = make_tokenizer()
    policy, reference = (
        tiny_llama(vocab_size=len(tokenizer), num_hidden_layers=1, max_position_embeddings=length)
        for length in (256, 16)
    )
    with pytest.raises(ConfigError, match="the model has positions for 16"):
        generate(policy, tokenizer, PROMPTS, realignment=Realignment(FrozenCopy(reference), 0.5), max_new_tokens=20)


@pytest.mark.parametrize("strength", [-0.1, math.nan, math.inf])
def test_a_strength_must_be_a_number_of_at_least_0(strength: float) -> None:
    with pytest.raises(ConfigError, match=rf"strength = {strength}: must be at least 0"):
        Realignment(AdapterOff(), strength)


@pytest.mark.parametrize(("strength", "share"), [(0.25, 0.4), (0.5, 0.4), (2.0, 0.6)])
def test_the_mix_of_tokens_is_near_what_training_with_another_beta_leads_to_but_not_equal(
    strength: float, share: float
) -> None:
    """That is the mix of completions. Means over worlds of four words; docs/evaluation.md has more of them."""
    beta = 0.5
    of_mix, of_nearest = [], []
    for _ in range(30):
        logits, rewards = torch.randn(2, NUM_WORDS**LENGTH, dtype=torch.float64)
        reference = logits.log_softmax(0)
        policy, wanted = ((reference + rewards / by).log_softmax(0) for by in (beta, beta / strength))
        assert _distance(_of_completions(_by_token(policy)), policy) < 1e-12
        pairs = zip(_by_token(policy), _by_token(reference), strict=True)
        mix = _of_completions([mixed_logits(own, other, strength).log_softmax(-1) for own, other in pairs])
        of_mix.append(_distance(mix, wanted))
        of_nearest.append(min(_distance(policy, wanted), _distance(reference, wanted)))
    assert 0.03 < sum(of_mix) / len(of_mix) < share * sum(of_nearest) / len(of_nearest)


def _distance(first: Tensor, second: Tensor) -> float:
    """Total variation of log-probs."""
    return float((first.exp() - second.exp()).abs().sum() / 2)


def _by_token(logps: Tensor) -> list[Tensor]:
    """Log-probs of each next word given those before, of those of completions. Shape: (word, ..., next word)."""
    whole = logps.reshape([NUM_WORDS] * LENGTH)
    beginnings = [whole.flatten(place).logsumexp(-1) for place in range(1, LENGTH)]
    return [each.log_softmax(-1) for each in (*beginnings, whole)]


def _of_completions(by_token: Sequence[Tensor]) -> Tensor:
    """Log-probs of completions. Shape: (completion,)."""
    found = by_token[0]
    for level in by_token[1:]:
        found = found[..., None] + level
    return found.flatten()
