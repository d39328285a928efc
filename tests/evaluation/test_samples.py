import pytest
import torch

from preftune.evaluation.samples import Samples, evaluate_samples
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
