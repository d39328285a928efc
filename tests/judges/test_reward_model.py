from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForSequenceClassification

from preftune.errors import JudgeError
from preftune.groups import Message
from preftune.judges.judge import Question, Verdict
from preftune.judges.reward_model import reward_model_judge
from preftune.model.forward.arithmetic import Arithmetic
from tests.data.tokenizers_for_tests import make_tokenizer

CPU = Arithmetic(torch.device("cpu"))


def write_reward_model(folder: Path, *, num_labels: int = 1, pad_token_id: int | None = 0, chat: bool = False) -> Path:
    tokenizer = make_tokenizer() if chat else make_tokenizer(chat_template=None)
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"num_labels": num_labels, "pad_token_id": pad_token_id}
    config = LlamaConfig(
        hidden_size=16,
        intermediate_size=32,
        vocab_size=len(tokenizer),
        num_hidden_layers=1,
        num_attention_heads=2,
        initializer_range=0.2,
        **sizes,
    )
    LlamaForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def plain_score(folder: Path, text: str) -> float:
    model = LlamaForSequenceClassification.from_pretrained(folder).eval()
    ids = make_tokenizer()(text, add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        return float(model(torch.tensor([ids])).logits[0, 0])


@pytest.mark.parametrize("pad_token_id", [0, None])
def test_scores_equal_those_of_the_bare_model_for_any_padding(pad_token_id: int | None, tmp_path: Path) -> None:
    folder = write_reward_model(tmp_path / "reward", pad_token_id=pad_token_id)
    question = Question("What is two?", " It is one and one.", " No")
    found: dict[Question, Verdict] = {}
    judge = reward_model_judge(str(folder), CPU)
    judge.ask([question], found.__setitem__)
    scores = found[question].scores
    expected = [plain_score(folder, f"{question.prompt}{text}") for text in (" It is one and one.", " No")]
    assert scores == pytest.approx(expected, abs=1e-5)
    assert found[question].choice == ("first" if expected[0] > expected[1] else "second")
    assert not judge.asks_both_orders


def test_prompts_use_the_chat_template_if_there_is_one(tmp_path: Path) -> None:
    folder = write_reward_model(tmp_path / "reward", chat=True)
    judge = reward_model_judge(str(folder), CPU)
    rendered = "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\nSo.<|im_end|>\n"
    for prompt in ("Why?", (Message("user", "Why?"),)):
        assert judge.scores([prompt], ["So."]) == pytest.approx([plain_score(folder, rendered)], abs=1e-5)


def test_a_classifier_of_several_classes_and_a_folder_without_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(JudgeError, match="gives 3 numbers for a text"):
        reward_model_judge(str(write_reward_model(tmp_path / "classes", num_labels=3)), CPU)
    with pytest.raises(JudgeError, match="no sequence classifier could be loaded"):
        reward_model_judge(str(tmp_path), CPU)
