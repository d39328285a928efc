import pytest
import torch
from torch import nn

from preftune.model.forward.packed import PackedForward
from preftune.model.forward.sequences import SequencesForward
from preftune.model.generation.completions import Generation, generate
from preftune.model.generation.kl import sampled_kl
from preftune.model.generation.sample_values import SampleValues, sample_values
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
    found = sample_values(policy, reference, drawn, PackedForward()).kl
    expected = sampled_kl(policy, reference, drawn, SequencesForward())
    assert found is not None
    assert found.num_samples == 3
    assert found.mean == pytest.approx(expected.mean, abs=1e-4)
    assert found.standard_error == pytest.approx(expected.standard_error, abs=1e-4)


def test_the_entropy_is_that_of_the_models_own_logits(policy: nn.Module, drawn: list[list[Generation]]) -> None:
    found = sample_values(policy, NoReference(), drawn, PackedForward())
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
