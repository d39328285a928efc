"""Whole runs that train a reward model."""

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer, LlamaForSequenceClassification

from preftune.errors import ConfigError, ModelError
from preftune.judges.reward_model import reward_model_judge
from preftune.model.forward.arithmetic import Arithmetic
from preftune.model.load.reward_model import load_reward_model
from preftune.runs.run import train
from preftune.settings import TrainConfig
from tests.cli.command_line import call, error_of
from tests.runs.inputs import config_of, history

CPU = Arithmetic(torch.device("cpu"))
PROMPT, GOOD, BAD = "What is 5+5?", " It is 10.", " Maybe 11, or not."


def reward_config(model: Path, data: Path, output: Path, **settings: object) -> TrainConfig:
    return config_of(model, data, output, **{"method": "bradley_terry", "chat": "off", **settings})


@pytest.fixture(scope="module")
def trained(model_folder: Path, pairs_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "reward"
    train(reward_config(model_folder, pairs_file, folder, epochs=6, learning_rate=1e-2, eval_fraction=0.3), quiet=True)
    return folder


def rewards_by_hand(folder: Path) -> list[float]:
    """The outputs of plain transformers on texts that end in the end-of-sequence token."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        return [
            model(torch.tensor([[*tokenizer(PROMPT + text)["input_ids"], tokenizer.eos_token_id]])).logits.item()
            for text in (GOOD, BAD)
        ]


def test_a_run_learns_to_tell_chosen_from_rejected(trained: Path) -> None:
    losses = history(trained)
    assert losses[0] == pytest.approx(math.log(2), abs=0.3)
    assert losses[-1] < 0.1
    held_out = history(trained, "eval_rewards/accuracies")
    assert held_out[-1] > 0.9
    assert history(trained, "eval_rewards/calibration_error")[-1] < 0.2


def test_plain_transformers_and_the_judge_give_the_rewards_of_training(trained: Path) -> None:
    expected = rewards_by_hand(trained)
    assert expected[0] > expected[1] + 2
    judge = reward_model_judge(str(trained), CPU)
    assert judge.scores([PROMPT, PROMPT], [GOOD, BAD]) == pytest.approx(expected, abs=1e-5)


def test_an_empty_completion_has_a_reward(trained: Path) -> None:
    [found] = reward_model_judge(str(trained), CPU).scores([PROMPT], [""])
    tokenizer = AutoTokenizer.from_pretrained(trained)
    model = AutoModelForSequenceClassification.from_pretrained(trained).eval()
    ids = [*tokenizer(PROMPT)["input_ids"], tokenizer.eos_token_id]
    assert found == pytest.approx(model(torch.tensor([ids])).logits.item(), abs=1e-5)


def test_texts_end_in_another_token_than_padding(trained: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(trained)
    model = AutoModelForSequenceClassification.from_pretrained(trained)
    assert model.config.pad_token_id == tokenizer.pad_token_id != tokenizer.eos_token_id


def test_a_tokenizer_that_pads_with_its_end_gets_another_padding_token(
    model_folder: Path, pairs_file: Path, tmp_path: Path
) -> None:
    base = tmp_path / "base"
    AutoModelForSequenceClassification.from_pretrained(model_folder, num_labels=1).save_pretrained(base)
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    tokenizer.pad_token = tokenizer.eos_token
    tokenizer.save_pretrained(base)
    train(reward_config(base, pairs_file, tmp_path / "run", max_steps=1), quiet=True)
    saved = AutoTokenizer.from_pretrained(tmp_path / "run")
    assert saved.pad_token_id != saved.eos_token_id
    judge = reward_model_judge(str(tmp_path / "run"), CPU)
    assert judge.scores([PROMPT, PROMPT], [GOOD, BAD]) == pytest.approx(rewards_by_hand(tmp_path / "run"), abs=1e-5)


def test_lists_of_two_train_the_model_of_their_pairs(model_folder: Path, pairs_file: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in pairs_file.read_text().splitlines()]
    lists = tmp_path / "lists.jsonl"
    lists.write_text(
        "".join(
            json.dumps({"prompt": row["prompt"], "completions": [row["chosen"], row["rejected"]], "scores": [2, 1]})
            + "\n"
            for row in rows
        )
    )
    for name, data in (("bradley_terry", pairs_file), ("plackett_luce_rewards", lists)):
        train(reward_config(model_folder, data, tmp_path / name, method=name, max_steps=3), quiet=True)
    one, other = (history(tmp_path / name) for name in ("bradley_terry", "plackett_luce_rewards"))
    assert one == pytest.approx(other, abs=1e-6)


@pytest.mark.parametrize("budget", [64, 4096])
def test_the_cut_into_micro_batches_changes_nothing(
    budget: int, trained: Path, model_folder: Path, pairs_file: Path, tmp_path: Path
) -> None:
    del trained
    settings = {"max_steps": 3, "max_tokens_per_microbatch": budget}
    train(reward_config(model_folder, pairs_file, tmp_path / "cut", **settings), quiet=True)
    train(reward_config(model_folder, pairs_file, tmp_path / "whole", max_steps=3), quiet=True)
    assert history(tmp_path / "cut") == pytest.approx(history(tmp_path / "whole"), abs=1e-5)


def test_an_adapter_is_a_judge_and_merges_into_the_same_rewards(
    model_folder: Path, pairs_file: Path, tmp_path: Path
) -> None:
    base = shutil.copytree(model_folder, tmp_path / "base")
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.pad_token = "<|im_start|>"
    tokenizer.save_pretrained(base)
    config = reward_config(base, pairs_file, tmp_path / "run", lora=True, max_steps=4, learning_rate=1e-2)
    train(config, quiet=True)
    loaded = load_reward_model(str(tmp_path / "run"), {})
    assert isinstance(loaded, PeftModel)
    texts = ([PROMPT, PROMPT], [GOOD, BAD])
    expected = reward_model_judge(str(tmp_path / "run"), CPU).scores(*texts)
    assert expected[0] != pytest.approx(expected[1], abs=1e-3)
    call("merge", "--model", tmp_path / "run", "--output", tmp_path / "merged")
    assert isinstance(
        AutoModelForSequenceClassification.from_pretrained(tmp_path / "merged"), LlamaForSequenceClassification
    )
    assert rewards_by_hand(tmp_path / "merged") == pytest.approx(expected, abs=1e-4)
    assert reward_model_judge(str(tmp_path / "merged"), CPU).scores(*texts) == pytest.approx(expected, abs=1e-4)


def test_training_goes_on_from_a_reward_model(trained: Path, pairs_file: Path, tmp_path: Path) -> None:
    train(reward_config(trained, pairs_file, tmp_path / "more", max_steps=1, learning_rate=1e-6), quiet=True)
    assert history(tmp_path / "more")[0] < 0.2


def test_a_reward_model_is_no_language_model(trained: Path, pairs_file: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"classifier or reward model.*which generates no text.*reward:"):
        train(config_of(trained, pairs_file, tmp_path / "dpo"), quiet=True)


@pytest.mark.parametrize("settings", [{"eval_samples": 4}, {"judge": "python:rules:polite", "eval_fraction": 0.3}])
def test_samples_of_a_reward_model_are_an_error(settings: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="trains a reward model, which generates no text"):
        reward_config(tmp_path, tmp_path, tmp_path / "run", **{"eval_samples": 0, **settings})


def test_the_card_says_that_it_is_a_reward_model(trained: Path) -> None:
    card = (trained / "README.md").read_text()
    assert "pipeline_tag: text-classification" in card
    assert "reward-model" in card
    assert "A reward model made of" in card


def test_the_command_trains_by_bradley_terry_and_by_no_method_of_policies(
    model_folder: Path, pairs_file: Path, tmp_path: Path
) -> None:
    given = ("--model", model_folder, "--data", pairs_file, "--output", tmp_path / "run", "--report-to", "none")
    assert "method: bradley_terry" in call("reward", *given, "--print-config").output
    assert "trains no reward model" in error_of("reward", *given, "--method", "dpo")
