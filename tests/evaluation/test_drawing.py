import copy
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model

from preftune.evaluation import drawing as module
from preftune.evaluation.drawing import Drawer
from preftune.judges.store import EvaluationStore
from preftune.model.forward.arithmetic import Arithmetic
from preftune.model.generation.completions import generate
from preftune.model.generation.realigned import Realignment
from preftune.model.reference.reference import AdapterOff, FrozenCopy
from preftune.settings.sampling import Sampling
from tests.builders import tiny_llama
from tests.data.tokenizers_for_tests import make_tokenizer

PROMPTS = ["What is", "Who"]
SAMPLING = Sampling(max_new_tokens=5, num_samples=2)
CPU = Arithmetic(torch.device("cpu"))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EvaluationStore]:
    opened = EvaluationStore(tmp_path / "evaluation.sqlite")
    yield opened
    opened.close()


@pytest.fixture
def num_draws(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    calls: list[int] = []

    def counted(*args: object, **settings: object) -> object:
        calls.append(1)
        return generate(*args, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "generate", counted)
    return calls


def test_samples_are_drawn_once_and_come_back_as_they_were(store: EvaluationStore, num_draws: list[int]) -> None:
    model, tokenizer = tiny_llama(vocab_size=400, eos_token_id=0), make_tokenizer()
    first = Drawer(store, CPU).draw(model, tokenizer, PROMPTS, SAMPLING)
    again = Drawer(store, CPU).draw(model, tokenizer, PROMPTS, SAMPLING)
    assert len(num_draws) == 1
    for one, other in zip(chain(*first), chain(*again), strict=True):
        assert one.prompt_ids.tolist() == other.prompt_ids.tolist()
        assert one.completion_ids.tolist() == other.completion_ids.tolist()
        assert one.completion_ids.dtype == other.completion_ids.dtype
        assert (one.text, one.finished) == (other.text, other.finished)


def test_other_weights_prompts_settings_and_end_tokens_sample_again(
    store: EvaluationStore, num_draws: list[int]
) -> None:
    tokenizer = make_tokenizer()
    model = tiny_llama(vocab_size=400, eos_token_id=0)
    drawer = Drawer(store, CPU)
    drawer.draw(model, tokenizer, PROMPTS, SAMPLING)
    drawer.draw(tiny_llama(vocab_size=400, eos_token_id=0), tokenizer, PROMPTS, SAMPLING)
    drawer.draw(model, tokenizer, PROMPTS[:1], SAMPLING)
    drawer.draw(model, tokenizer, PROMPTS, Sampling(max_new_tokens=5, num_samples=2, seed=1))
    assert model.generation_config is not None
    model.generation_config.eos_token_id = [0, 5]
    drawer.draw(model, tokenizer, PROMPTS, SAMPLING)
    assert len(num_draws) == 5


def test_other_strengths_and_references_sample_again(store: EvaluationStore, num_draws: list[int]) -> None:
    tokenizer = make_tokenizer()
    model, first, second = (tiny_llama(vocab_size=400, eos_token_id=0).eval() for _ in range(3))
    drawer = Drawer(store, CPU)
    mixes = [None, *(Realignment(FrozenCopy(each), strength) for each in (first, second) for strength in (0.0, 0.5))]
    found = [drawer.draw(model, tokenizer, PROMPTS, SAMPLING, realignment=mix) for mix in mixes]
    assert len(num_draws) == len({repr(samples) for samples in found}) == 5
    again = [Drawer(store, CPU).draw(model, tokenizer, PROMPTS, SAMPLING, realignment=mix) for mix in mixes]
    assert len(num_draws) == 5
    assert repr(again) == repr(found)


def test_a_disabled_adapter_and_a_separate_base_are_the_same_reference(
    store: EvaluationStore, num_draws: list[int]
) -> None:
    base = tiny_llama(vocab_size=400, eos_token_id=0).eval()
    policy = get_peft_model(copy.deepcopy(base), LoraConfig(r=2, target_modules=["q_proj"])).eval()
    drawer = Drawer(store, CPU)
    for reference in (AdapterOff(), FrozenCopy(base)):
        drawer.draw(policy, make_tokenizer(), PROMPTS, SAMPLING, realignment=Realignment(reference, 0.5))
    assert len(num_draws) == 1


def test_without_a_store_nothing_is_kept(num_draws: list[int]) -> None:
    model = tiny_llama(vocab_size=400, eos_token_id=0)
    for _ in range(2):
        Drawer(None, CPU).draw(model, make_tokenizer(), PROMPTS, SAMPLING)
    assert len(num_draws) == 2
