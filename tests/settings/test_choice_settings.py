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
        ({"keep": "best", "metric": "win_rate:up"}, "which way is better is said by NAME:higher or NAME:lower"),
        (
            {"keep": "best", "metric": "rewards/accuracies", "method": "sft"},
            "method sft does not give it. It gives loss, logps/completions",
        ),
        ({"keep": "best", "save_every": 5}, "the run evaluates at the end of each epoch. Leave save_every out"),
        ({"keep": "best", "save_every": 5, "eval_every": 10}, "the run evaluates every 10 steps"),
    ],
)
def test_what_cannot_work_is_said(settings: dict[str, Any], text: str) -> None:
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
