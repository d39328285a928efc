from collections.abc import Sequence

import numpy as np
import pytest
import torch

from preftune.evaluation.samples import Samples, Writing, distinct_ngrams, evaluate_samples, length_drift
from preftune.metrics.intervals import Bootstrap
from preftune.model.forward.packed import PackedForward
from preftune.model.forward.sequences import SequencesForward
from preftune.model.generation.completions import Generation, generate
from preftune.model.generation.sample_values import sampled_kl
from preftune.model.reference.logps import Runner
from preftune.model.reference.reference import FrozenCopy, NoReference, Reference
from tests.builders import tiny_llama
from tests.data.tokenizers_for_tests import make_tokenizer

PROMPTS = ["What is", "Who is the", "How do I bake a cake"]


@pytest.fixture(scope="module")
def policy() -> torch.nn.Module:
    torch.manual_seed(0)
    model: torch.nn.Module = tiny_llama(vocab_size=len(make_tokenizer()), eos_token_id=0).eval()
    return model


@pytest.fixture(scope="module")
def reference() -> FrozenCopy:
    torch.manual_seed(1)
    return FrozenCopy(tiny_llama(vocab_size=len(make_tokenizer()), eos_token_id=0).eval())


@pytest.fixture(scope="module")
def drawn(policy: torch.nn.Module) -> list[list[Generation]]:
    return generate(policy, make_tokenizer(), PROMPTS, max_new_tokens=6, num_samples=4)  # type: ignore[arg-type]


def evaluated(policy: torch.nn.Module, reference: Reference, drawn: list[list[Generation]]) -> Samples:
    return evaluate_samples(
        policy,
        reference,
        drawn,
        None,
        Runner(PackedForward()),
        prompts=PROMPTS,
        max_new_tokens=6,
        bootstrap=Bootstrap(num_resamples=2000),
    )


def test_the_kl_is_that_of_sampled_kl_and_so_is_its_error(
    policy: torch.nn.Module, reference: FrozenCopy, drawn: list[list[Generation]]
) -> None:
    found = evaluated(policy, reference, drawn)
    estimate = sampled_kl(policy, reference, drawn, Runner(SequencesForward()))
    assert found.kl is not None
    assert found.kl_per_token is not None
    assert found.kl.value == pytest.approx(estimate.mean, abs=1e-4)
    # The bootstrap divides by n where the standard error divides by n - 1.
    assert found.kl.standard_error == pytest.approx(estimate.standard_error * (2 / 3) ** 0.5, rel=0.1)
    assert found.kl_per_token.value == pytest.approx(found.kl.value / found.policy.length.value)


def test_the_entropy_is_that_of_the_plain_forward(policy: torch.nn.Module, drawn: list[list[Generation]]) -> None:
    entropies = []
    for sample in (sample for samples in drawn for sample in samples):
        ids = torch.tensor([[*sample.prompt_ids.tolist(), *sample.completion_ids.tolist()]])
        with torch.no_grad():
            logps = policy(ids).logits[0, len(sample.prompt_ids) - 1 : -1].log_softmax(-1)
        entropies += (-(logps.exp() * logps).sum(-1)).tolist()
    assert evaluated(policy, NoReference(), drawn).entropy.value == pytest.approx(
        sum(entropies) / len(entropies), abs=1e-4
    )


def test_without_a_reference_there_is_no_kl(policy: torch.nn.Module, drawn: list[list[Generation]]) -> None:
    found = evaluated(policy, NoReference(), drawn)
    assert (found.kl, found.kl_per_token, found.reference, found.length_drift) == (None, None, None, None)
    assert (found.num_prompts, found.samples_per_prompt) == (3, 4)
    assert [example.prompt for example in found.examples] == PROMPTS
    assert found.examples[0].policy == drawn[0][0].text
    assert found.examples[0].reference is None


BOOTSTRAP = Bootstrap(num_resamples=50)


def generation(ids: Sequence[int], *, finished: bool = True) -> Generation:
    return Generation(np.array([1], dtype=np.int32), np.array(ids, dtype=np.int32), "", finished)


def test_lengths_ends_and_words_are_counted() -> None:
    drawn = [[generation([5, 6, 5, 6]), generation([5, 6])], [generation([7], finished=False), generation([5])]]
    found = Writing.of(drawn, BOOTSTRAP)
    assert (found.length.value, found.finished.value) == (2.0, 0.75)
    assert found.distinct == (3 / 8, 2 / 4, 2 / 2)


def test_the_same_text_for_every_prompt_is_not_distinct() -> None:
    drawn = [[generation([5, 6, 7])]] * 10
    assert Writing.of(drawn, BOOTSTRAP).distinct == (0.1, 0.1, 0.1)


def test_texts_too_short_for_an_ngram_have_none() -> None:
    assert distinct_ngrams([[1], [2]], 2) == 0.0


def test_the_drift_is_the_mean_difference_prompt_by_prompt() -> None:
    policy = [[generation([1] * 6), generation([1] * 8)], [generation([1] * 20)] * 2]
    reference = [[generation([1] * 5)] * 2, [generation([1] * 18)] * 2]
    found = length_drift(policy, reference, Bootstrap(num_resamples=400))
    assert found.value == 2.0
    assert found.standard_error == pytest.approx(0.0)
