"""Settings of the checkpoint choice, and what they go with."""

from pathlib import Path
from typing import Any

import pytest

from preftune.errors import ConfigError
from preftune.runs.arguments import training_arguments
from preftune.settings import TrainConfig


def config(**settings: Any) -> TrainConfig:
    return TrainConfig.of(**{"model": "m", "data": "d", "output": "o", "eval_fraction": 0.1, **settings})


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"keep": "best", "eval_fraction": 0.0}, "keep = best: nothing is held out"),
        ({"metric": "loss"}, "metric = loss: chooses nothing while keep is last"),
        ({"early_stopping": 3}, "early_stopping = 3: chooses nothing while keep is last"),
        ({"keep": "best", "early_stopping": 0}, "early_stopping = 0: must be at least 1"),
        ({"keep": "best", "metric": "rewards/accuracy"}, "Did you mean rewards/accuracies?"),
        ({"keep": "best", "metric": "taste"}, "write taste:higher or taste:lower"),
        ({"keep": "best", "metric": "win_rate:up"}, "has no direction. Write NAME:higher or NAME:lower"),
        (
            {"keep": "best", "metric": "rewards/accuracies", "method": "sft"},
            "method sft does not log it. It logs loss, logps/completions",
        ),
        ({"keep": "best", "save_every": 5}, "the run evaluates at the end of each epoch. Leave save_every out"),
        ({"keep": "best", "save_every": 5, "eval_every": 10}, "the run evaluates every 10 steps"),
    ],
)
def test_invalid_settings_are_reported(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config(**settings)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, ("rewards/accuracies", "higher")),
        ({"method": "kto"}, ("loss", "lower")),
        ({"method": "sft"}, ("loss", "lower")),
        ({"metric": "rewards/margins"}, ("rewards/margins", "higher")),
        ({"metric": "toxicity:lower"}, ("toxicity", "lower")),
    ],
)
def test_the_metric_and_its_direction_follow_from_the_settings(settings: dict[str, Any], expected: Any) -> None:
    found = config(keep="best", **settings)
    assert found.choice.chosen_by(found.method) == expected


def test_a_checkpoint_is_written_at_every_evaluation_to_choose_from(tmp_path: Path) -> None:
    arguments = training_arguments(config(keep="best", eval_every=7, output=str(tmp_path), report_to="none"))
    assert (arguments.save_strategy, arguments.save_steps, arguments.eval_steps) == ("steps", 7, 7)
    assert arguments.metric_for_best_model == "eval_rewards/accuracies"
    assert arguments.greater_is_better
    assert arguments.save_total_limit == 2


def test_settings_survive_their_yaml(tmp_path: Path) -> None:
    first = config(keep="best", metric="win_rate:higher", early_stopping=3, stop_on_sick=True)
    (tmp_path / "config.yaml").write_text(first.to_yaml())
    assert TrainConfig.read(tmp_path / "config.yaml") == first


def drawing_config(**settings: Any) -> TrainConfig:
    return TrainConfig.of(**{"model": "m", "data": "d", "output": "o", "eval_fraction": 0.1, **settings})


BEST = {"keep": "best", "judge": "python:m:f"}


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"eval_samples": -1}, "eval_samples = -1: must be at least 0"),
        ({"eval_sample_tokens": 0}, "eval_sample_tokens = 0: must be at least 1"),
        ({"eval_samples": 0, "eval_kl": True}, "eval_kl: nothing is sampled"),
        ({"judge_samples": 8}, "judge_samples = 8: there is no judge"),
        ({"judge_against": "chosen"}, "judge_against = chosen: there is no judge"),
        ({"judge": "python:m:f", "judge_samples": 0}, "judge_samples = 0: must be at least 1"),
        ({"judge": "m"}, "judge = m: must be reward:MODEL or python:MODULE:FUNCTION"),
        ({"judge": "python:m"}, "judge = python:m: must name a module and a function"),
        ({"judge": "openai:gpt"}, "preftune eval --model RUN/checkpoint-N --judge openai:gpt"),
        ({"judge": "file:verdicts.csv"}, "judge = file:verdicts.csv: cannot rate during training"),
        (
            {"judge": "python:m:f", "eval_fraction": 0.0},
            "judge = python:m:f: rates samples at evaluations, and nothing",
        ),
        (
            {"keep": "best", "metric": "win_rate"},
            "needs a judge of samples. Name one with judge=reward:MODEL",
        ),
        ({"keep": "best", "metric": "reward"}, "metric = reward: needs a judge"),
        ({**BEST, "metric": "reward_at_kl_budget"}, "metric = reward_at_kl_budget: which budget?"),
        ({**BEST, "metric": "reward", "kl_budget": 5.0}, "kl_budget = 5: is for metric = reward_at_kl_budget only"),
        ({**BEST, "metric": "reward_at_kl_budget", "kl_budget": 0.0}, "kl_budget = 0.0: must be above 0"),
        ({"kl_budget": 5.0}, "kl_budget = 5.0: chooses nothing while keep is last"),
    ],
)
def test_samples_that_cannot_be_drawn_are_refused(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        drawing_config(**settings)
    assert text in str(caught.value)


@pytest.mark.parametrize("metric", ["win_rate", "reward", "reward_at_kl_budget"])
def test_a_judge_gives_metrics_to_choose_by_of_which_more_is_better(metric: str) -> None:
    budget = {"kl_budget": 5.0} if metric == "reward_at_kl_budget" else {}
    found = drawing_config(**BEST, metric=metric, **budget)
    assert found.choice.chosen_by(found.method) == (metric, "higher")


def test_a_judge_without_a_word_on_the_metric_leaves_the_choice_as_it_was() -> None:
    found = drawing_config(**BEST)
    assert found.choice.chosen_by(found.method) == ("rewards/accuracies", "higher")


def test_as_many_prompts_are_drawn_for_as_samples_and_judge_ask_for() -> None:
    assert drawing_config().samples.num_prompts == 8
    assert drawing_config(judge="python:m:f").samples.num_prompts == 64
    assert drawing_config(judge="python:m:f", judge_samples=4).samples.num_prompts == 8
    assert drawing_config(judge="python:m:f", judge_samples=4, eval_samples=0).samples.num_prompts == 4


def test_a_measure_of_ones_own_may_be_called_like_that_of_a_judge() -> None:
    found = drawing_config(keep="best", metric="win_rate:lower")
    assert found.choice.chosen_by(found.method) == ("win_rate", "lower")
