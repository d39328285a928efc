"""Judges of a run's samples, and checkpoint choice by them."""

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForSequenceClassification

import preftune
from preftune.errors import ConfigError, JudgeError, TrainingError
from preftune.judges.function import FunctionJudge, ScoringJudge
from preftune.judges.judge import Judge
from preftune.metrics.intervals import Estimate
from preftune.runs.judged_samples import JudgedSamples, judged_measures
from preftune.runs.result import RunResult
from preftune.runs.samples import DrawnSamples, SamplePrompt
from tests.runs.inputs import config_of, history, write_model, write_pairs

BEST: dict[str, Any] = {"keep": "best", "eval_fraction": 0.5, "judge_samples": 3, "eval_sample_tokens": 6}


def drawn(*completions: str, kl: float = 1.0, chosen: Sequence[str | None] = ()) -> DrawnSamples:
    answers = [*chosen, *[None] * len(completions)][: len(completions)]
    return DrawnSamples(
        step=10,
        max_new_tokens=8,
        prompts=tuple(SamplePrompt(f"prompt {number}", answer) for number, answer in enumerate(answers)),
        completions=completions,
        finished=(True,) * len(completions),
        kl=Estimate(kl, 0.1, len(completions)),
        entropy=1.0,
        num_tokens=Estimate(4.0, 0.1, len(completions)),
    )


def scoring() -> ScoringJudge:
    """Longer is better."""
    return ScoringJudge("length", lambda _, texts: [float(len(text)) for text in texts])


def judged(judge: Judge, samples: DrawnSamples, start: Sequence[str], **settings: Any) -> dict[str, float]:
    return dict(JudgedSamples(judge, **{"against": "start", "kl_budget": None, **settings})(samples, start))


def test_samples_are_rated_against_those_before_the_first_step() -> None:
    found = judged(scoring(), drawn("aaaa", "b", "cc", "dd"), ["aa", "bb", "cc", "d"])
    assert found == pytest.approx(
        {
            "win_rate": (1 + 0 + 0.5 + 1) / 4,
            "win_rate_error": (0.6875 / 3) ** 0.5 / 2,  # squares of 0.375, -0.625, -0.125 and 0.375
            "num_judged": 4,
            "reward": 9 / 4,
            "reward_error": (4.75 / 3) ** 0.5 / 2,
        }
    )


def test_samples_may_be_rated_against_the_answers_of_the_data() -> None:
    samples = drawn("aaaa", "b", "cc", chosen=["a", None, "ccc"])
    found = judged(scoring(), samples, ["", "", ""], against="chosen")
    assert (found["win_rate"], found["num_judged"], found["reward"]) == (0.5, 2, 3.0)
    with pytest.raises(ConfigError, match="judge_against = chosen: the held-out prompts have no chosen answers"):
        judged(scoring(), drawn("a"), ["b"], against="chosen")


def test_a_comparing_judge_gives_only_a_win_rate() -> None:
    def first(prompt: str, left: str, right: str) -> str:
        return "first"

    judge = FunctionJudge("python:m:first", None, first)
    assert judged(judge, drawn("a", "b"), ["b", "a"]) == {
        "win_rate": 0.5, "win_rate_error": 0.0, "num_judged": 2.0,
    }  # it is asked in both orders  # fmt: skip


def test_the_reward_counts_only_within_the_budget() -> None:
    for kl, expected in ((4.9, 3.0), (5.1, -math.inf)):
        assert judged(scoring(), drawn("aaa", kl=kl), ["a"], kl_budget=5.0)["reward_at_kl_budget"] == expected


def test_a_judge_without_any_verdict_is_an_error() -> None:
    class Silent:
        name, identity, asks_both_orders = "silent", None, True

        def ask(self, questions: Any, keep: Any) -> None: ...

    with pytest.raises(JudgeError, match="judge = silent: gave no verdict on any of 2 samples"):
        judged(Silent(), drawn("a", "b"), ["b", "a"])


@pytest.fixture
def judges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with judges in a module."""
    (tmp_path / "tastes.py").write_text(
        "def long(prompt, completion):\n    return len(completion)\n\n"
        "def longer(prompt, first, second):\n    return 'first' if len(first) > len(second) else 'second'\n\n"
        "def broken(prompt, first, second):\n    return 'perhaps'\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "tastes", raising=False)
    return tmp_path


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    return write_model(tmp_path_factory.mktemp("base"), num_hidden_layers=1)


def run(base: Path, folder: Path, **settings: Any) -> RunResult:
    data = write_pairs(folder / "pairs.jsonl")
    defaults = {**BEST, "learning_rate": 3e-2, "epochs": 3}
    return preftune.train(config_of(base, data, folder / "run", **{**defaults, **settings}))


def test_the_checkpoint_that_wins_most_becomes_the_model(base: Path, judges: Path) -> None:
    result = run(base, judges, judge="python:tastes:longer", metric="win_rate")
    rates = history(judges / "run", "eval_win_rate")
    assert rates[0] == 0.5
    assert len(rates) == 4
    assert result.kept is not None
    assert (result.kept.metric, result.kept.at_start) == ("win_rate", 0.5)
    assert result.kept.value == max(rates[1:])


def test_the_best_reward_within_the_budget_becomes_the_model(base: Path, judges: Path) -> None:
    settings = {"judge": "python:tastes:long", "metric": "reward_at_kl_budget"}
    free = run(base, judges, **settings, kl_budget=1e6)
    assert free.kept is not None
    kls, rewards = (history(judges / "run", f"eval_{name}") for name in ("samples/kl", "reward"))
    assert free.kept.value == max(rewards[1:])
    budget = sorted(kls[1:])[0] + 1e-6  # one evaluation is within it
    bound = run(base, judges, **settings, kl_budget=budget, overwrite=True)
    assert bound.kept is not None
    assert bound.kept.value == rewards[kls.index(min(kls[1:]))]
    lines = [json.loads(line) for line in (judges / "run" / "metrics.jsonl").read_text().splitlines()]
    values = [line["eval_reward_at_kl_budget"] for line in lines if "eval_reward_at_kl_budget" in line]
    assert values.count(None) == 2  # minus infinity, which JSON has not


def test_a_budget_that_no_evaluation_is_within_leaves_no_model(base: Path, judges: Path) -> None:
    settings = {"judge": "python:tastes:long", "metric": "reward_at_kl_budget", "learning_rate": 0.3}
    with pytest.raises(TrainingError, match=r"kl_budget = 0\.01: no evaluation was within it.* least KL was"):
        run(base, judges, **settings, kl_budget=0.01)
    assert not (judges / "run" / "model.safetensors").exists()
    assert len(list((judges / "run").glob("checkpoint-*"))) == 2


def test_a_reward_model_may_judge(base: Path, judges: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(base)
    sizes: dict[str, Any] = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1}
    labels: dict[str, Any] = {"num_labels": 1}
    config = LlamaConfig(vocab_size=len(tokenizer), num_attention_heads=2, pad_token_id=0, **sizes, **labels)
    LlamaForSequenceClassification(config).save_pretrained(judges / "reward")
    tokenizer.save_pretrained(judges / "reward")
    run(base, judges, judge=f"reward:{judges / 'reward'}", metric="reward", epochs=1)
    assert len(history(judges / "run", "eval_reward")) == 2


def test_scores_are_not_expected_of_a_judge_that_compares(base: Path, judges: Path) -> None:
    with pytest.raises(ConfigError, match="metric = reward: judge = python:tastes:longer compares two completions"):
        run(base, judges, judge="python:tastes:longer", metric="reward")
    assert not (judges / "run").exists()


def test_a_judge_that_is_not_there_ends_the_run_before_it_begins(base: Path, judges: Path) -> None:
    with pytest.raises(JudgeError, match="judge = python:tastes:nothing: cannot be imported"):
        run(base, judges, judge="python:tastes:nothing", metric="win_rate")
    assert not (judges / "run").exists()


def test_a_judge_that_is_broken_ends_the_run_at_its_first_answer(base: Path, judges: Path) -> None:
    with pytest.raises(JudgeError, match="gave 'perhaps'"):
        run(base, judges, judge="python:tastes:broken", keep="last", judge_against="chosen")


def test_settings_without_a_judge_ask_for_no_measure(base: Path, tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "pairs.jsonl")
    assert judged_measures(config_of(base, data, tmp_path / "run")) == []
