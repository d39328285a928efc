from collections.abc import Iterator

import numpy as np
import pytest
import torch
import transformers
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from preftune.errors import ModelError
from preftune.model.forward.packed_batch import pack
from preftune.model.forward.rewards import RewardForward, is_reward_model, reward_head_of
from preftune.model.forward.self_check import choose_forward
from tests.builders import tiny_llama, token_groups
from tests.model.forward.tiny_models import ARCHITECTURES, PLAIN_ATTENTION, HonestFloat64

PACKED, PLAIN = RewardForward(), RewardForward("sequences")


def reward_model(architecture: str = "llama", *, num_labels: int = 1) -> PreTrainedModel:
    config_class, settings = ARCHITECTURES[architecture]
    config = getattr(transformers, config_class)(**settings, num_labels=num_labels)
    torch.manual_seed(0)
    model: PreTrainedModel = AutoModelForSequenceClassification.from_config(
        config, dtype=torch.float64, attn_implementation=PLAIN_ATTENTION
    )
    model.train(False)
    return model


def one_by_one(model: nn.Module) -> Tensor:
    """The outputs of the model itself, a text at a time."""
    texts = [
        np.concatenate([group.prompt, ids]) for group in token_groups(4, completions=3) for ids in group.completions
    ]
    return torch.cat([model(torch.tensor(text)[None].long()).logits[:, 0] for text in texts])


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    with HonestFloat64():
        yield


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3", "gemma2", "mistral_window", "gpt2"])
@pytest.mark.parametrize("forward", [PACKED, PLAIN], ids=["packed", "row per completion"])
def test_rewards_and_gradients_are_those_of_the_model_on_each_text(forward: RewardForward, architecture: str) -> None:
    model = reward_model(architecture)
    batch = pack(token_groups(4, completions=3))
    weights = torch.linspace(-1, 1, batch.num_completions).double()

    expected = one_by_one(model)
    (expected * weights).sum().backward()
    gradients = [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]
    model.zero_grad()
    found = forward.rewards(model, batch)
    (found * weights).sum().backward()

    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    assert len(gradients) == len(list(model.parameters()))
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=0, atol=1e-10)


def test_the_value_of_a_completion_is_its_reward_whatever_its_length() -> None:
    model, batch = reward_model(), pack(token_groups(4, completions=3))
    values = PACKED.token_logps(model, batch)
    assert (values != 0).sum() == batch.num_completions
    torch.testing.assert_close(batch.sum_by_completion(values), one_by_one(model), rtol=0, atol=1e-12)


def test_an_adapter_with_its_own_output_gives_the_rewards_of_the_model() -> None:
    adapted = get_peft_model(reward_model(), LoraConfig(task_type="SEQ_CLS", target_modules=["q_proj"])).double()
    torch.nn.init.normal_(reward_head_of(adapted).modules_to_save["default"].weight)  # type: ignore[union-attr, index]
    batch = pack(token_groups(4, completions=3))
    torch.testing.assert_close(PACKED.rewards(adapted, batch), one_by_one(adapted), rtol=0, atol=1e-12)


def test_the_self_check_compares_rewards() -> None:
    choice = choose_forward(reward_model())
    assert isinstance(choice.forward, RewardForward)
    assert choice.forward.layout == "packed"
    assert "packed rows: rewards differ by" in choice.reason


def test_a_language_model_and_a_classifier_of_several_classes_are_no_reward_models() -> None:
    for model in (tiny_llama(), reward_model(num_labels=3)):
        assert not is_reward_model(model)
        with pytest.raises(ModelError, match="no reward model with a linear layer of one output"):
            reward_head_of(model)


def test_a_reward_model_has_no_distributions() -> None:
    with pytest.raises(ModelError, match="no next-token distributions"):
        PACKED.distributions(reward_model(), pack(token_groups(1)))
