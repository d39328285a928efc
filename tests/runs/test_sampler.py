"""Samples that a run draws as it trains: when, what of, what for, and what becomes of errors."""

import json
import shutil
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from preftune.errors import ConfigError, JudgeError, OutputError
from preftune.model.generation.completions import generate
from preftune.runs import reference as reference_module
from preftune.runs import sampler as sampler_module
from preftune.runs.result import RunResult
from preftune.runs.run import train
from preftune.runs.samples import NUM_GREEDY, DrawnSamples
from preftune.settings.chat import ChatChoice
from preftune.settings.choice import DrawSettings
from preftune.training.health.monitor import HealthMonitor
from tests.runs.inputs import config_of, history

DRAWS: dict[str, Any] = {"eval_samples": 3, "eval_sample_tokens": 6, "learning_rate": 1e-2}
EVALUATES: dict[str, Any] = {**DRAWS, "eval_fraction": 0.25}


def drawn(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]


def steps_and_kl(folder: Path) -> list[tuple[int, float | None]]:
    return [(line["step"], line["kl"]) for line in drawn(folder)]


def said(config: Any, **arguments: Any) -> tuple[RunResult, str]:
    console = Console(file=StringIO(), width=500)
    result = train(config, console=console, **arguments)
    assert isinstance(console.file, StringIO)
    return result, console.file.getvalue()


def test_samples_are_drawn_before_the_first_step_at_each_evaluation_and_after_the_last_step(
    model_folder: Path, pairs_file: Path, tmp_path: Path
) -> None:
    train(config_of(model_folder, pairs_file, tmp_path / "run", **EVALUATES, eval_every=2, max_steps=5))
    lines = drawn(tmp_path / "run")
    assert [line["step"] for line in lines] == [0, 2, 4, 5]
    assert lines[0].keys() == {"step", "max_new_tokens", "kl", "kl_error", "entropy", "mean_tokens", "samples"}
    assert lines[0]["max_new_tokens"] == 6
    assert 1 <= lines[0]["mean_tokens"] <= 6
    assert [len(line["samples"]) for line in lines] == [3] * 4
    for line in lines:
        assert [sample["prompt"] for sample in line["samples"]] == [sample["prompt"] for sample in lines[0]["samples"]]
    assert lines[0]["samples"] != lines[-1]["samples"]


def test_greedy_completions_stand_beside_the_samples_and_on_the_console(
    model_folder: Path, pairs_file: Path, tmp_path: Path
) -> None:
    _, text = said(config_of(model_folder, pairs_file, tmp_path / "run", **{**EVALUATES, "eval_samples": 10}, epochs=1))
    for line, folder in zip(drawn(tmp_path / "run"), (model_folder, tmp_path / "run"), strict=True):
        shown, others = line["samples"][:NUM_GREEDY], line["samples"][NUM_GREEDY:]
        model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
        prompts = [sample["prompt"] for sample in shown]
        best = generate(model, tokenizer, prompts, chat=ChatChoice(), max_new_tokens=6, temperature=0)
        found = [(sample["greedy"]["text"], sample["greedy"]["finished"]) for sample in shown]
        assert found == [(one.text, one.finished) for (one,) in best]
        assert {sample["greedy"] for sample in others} <= {None}
        assert f"greedy      {prompts[0]}: " in text


@pytest.mark.parametrize(
    ("given", "device", "expected"),
    [
        ({}, "cpu", (4, 64)),
        ({}, "cuda", (8, 128)),
        ({"eval_samples": 8}, "cpu", (8, 64)),
        ({"eval_sample_tokens": 200}, "cpu", (4, 200)),
        ({"eval_samples": 0}, "cpu", (0, 64)),
        ({"judge": "python:rules:polite"}, "cpu", (64, 128)),
        ({"judge": "python:rules:polite", "judge_samples": 2}, "cpu", (8, 128)),
    ],
)
def test_samples_are_fewer_and_shorter_by_default_on_a_cpu(
    given: dict[str, Any], device: str, expected: tuple[int, int]
) -> None:
    settings = DrawSettings(**given).on(device)
    assert (settings.num_prompts, settings.sample_tokens) == expected


def test_the_numbers_are_logged_with_those_of_held_out_data(
    model_folder: Path, pairs_file: Path, tmp_path: Path
) -> None:
    train(config_of(model_folder, pairs_file, tmp_path / "run", **EVALUATES, lora=True, lora_rank=4))
    lines = drawn(tmp_path / "run")
    assert history(tmp_path / "run", "eval_samples/kl") == [line["kl"] for line in lines]
    assert history(tmp_path / "run", "eval_samples/entropy") == [line["entropy"] for line in lines]
    assert history(tmp_path / "run", "eval_samples/num_tokens") == [line["mean_tokens"] for line in lines]
    finished = [sum(sample["finished"] for sample in line["samples"]) / 3 for line in lines]
    assert history(tmp_path / "run", "eval_samples/finished") == finished


def test_a_run_that_holds_nothing_out_draws_of_training_prompts_before_and_after(
    model_folder: Path, pairs_file: Path, tmp_path: Path
) -> None:
    train(config_of(model_folder, pairs_file, tmp_path / "run", **DRAWS, method="sft", epochs=1))
    lines = drawn(tmp_path / "run")
    assert [line["step"] for line in lines] == [0, 3]
    assert [sample["prompt"] for sample in lines[0]["samples"]] == [f"What is {n}+{n}?" for n in (1, 5, 9)]
    assert history(tmp_path / "run", "eval_samples/entropy") == []


def test_zero_draws_none(model_folder: Path, pairs_file: Path, tmp_path: Path) -> None:
    train(config_of(model_folder, pairs_file, tmp_path / "run", eval_fraction=0.3, epochs=1))
    assert not (tmp_path / "run" / "samples.jsonl").exists()


def test_a_run_learns_bit_by_bit_the_same_with_and_without_samples(
    model_folder: Path, pairs_file: Path, tmp_path: Path
) -> None:
    noisy = {**EVALUATES, "lora": True, "lora_rank": 4, "lora_dropout": 0.3}
    for name, count in (("with", 3), ("without", 0)):
        train(config_of(model_folder, pairs_file, tmp_path / name, **{**noisy, "eval_samples": count}))
    weights = [load_file(tmp_path / name / "adapter_model.safetensors") for name in ("with", "without")]
    for name, weight in weights[0].items():
        torch.testing.assert_close(weight, weights[1][name], rtol=0, atol=0)
    assert history(tmp_path / "with") == history(tmp_path / "without")


def test_a_resumed_run_continues_the_file_as_if_uninterrupted(
    model_folder: Path, pairs_file: Path, tmp_path: Path
) -> None:
    settings = {**EVALUATES, "eval_every": 2, "save_every": 3, "max_steps": 6, "keep_checkpoints": 2}
    train(config_of(model_folder, pairs_file, tmp_path / "run", **settings))
    whole = drawn(tmp_path / "run")
    assert [line["step"] for line in whole] == [0, 2, 4, 6]
    shutil.rmtree(tmp_path / "run" / "checkpoint-6")
    (tmp_path / "run" / "summary.json").unlink()  # as if killed
    with (tmp_path / "run" / "samples.jsonl").open("a") as file:
        file.write('{"step": 8, "max_new_')  # the line that a kill cut short
    train(config_of(model_folder, pairs_file, tmp_path / "run", **settings, resume=True))
    resumed = drawn(tmp_path / "run")
    assert resumed == whole


@pytest.mark.parametrize("method", ["dpo", "simpo"])
def test_with_a_new_adapter_the_kl_to_the_base_model_is_there_at_no_price(
    model_folder: Path, pairs_file: Path, tmp_path: Path, method: str
) -> None:
    train(config_of(model_folder, pairs_file, tmp_path / "run", **DRAWS, method=method, lora=True, lora_rank=4))
    (_, before), (_, after) = steps_and_kl(tmp_path / "run")
    assert before == 0
    assert after is not None
    assert abs(after) > 1e-3


def test_a_reference_that_left_memory_is_loaded_only_on_request(
    model_folder: Path, pairs_file: Path, tmp_path: Path
) -> None:
    for name, settings in {"gone": {}, "kept": {"reference_cache": False}, "loaded": {"eval_kl": True}}.items():
        train(config_of(model_folder, pairs_file, tmp_path / name, **DRAWS, **settings))
    assert [kl for _, kl in steps_and_kl(tmp_path / "gone")] == [None, None]
    kept = [kl for _, kl in steps_and_kl(tmp_path / "kept")]
    assert kept[0] == pytest.approx(0, abs=1e-5)
    assert [kl for _, kl in steps_and_kl(tmp_path / "loaded")] == pytest.approx(kept, abs=1e-3)
    assert drawn(tmp_path / "kept")[1]["kl_error"] > 0


def test_a_method_without_a_reference_is_compared_with_the_model_as_it_was(
    model_folder: Path, pairs_file: Path, tmp_path: Path
) -> None:
    train(config_of(model_folder, pairs_file, tmp_path / "run", **DRAWS, method="orpo", eval_kl=True))
    (_, before), (_, after) = steps_and_kl(tmp_path / "run")
    assert before == pytest.approx(0, abs=1e-5)
    assert after is not None
    assert abs(after) > 1e-3


def test_a_continued_adapter_is_compared_with_itself_as_it_was(
    model_folder: Path, pairs_file: Path, tmp_path: Path
) -> None:
    lora = {"lora": True, "lora_rank": 4}
    train(config_of(model_folder, pairs_file, tmp_path / "sft", method="sft", **lora, learning_rate=0.1))
    for name, settings in {"kept": {"reference_cache": False}, "loaded": {"eval_kl": True}}.items():
        train(config_of(tmp_path / "sft", pairs_file, tmp_path / name, **lora, **DRAWS, **settings))
    kept = [kl for _, kl in steps_and_kl(tmp_path / "kept")]
    assert kept[0] == pytest.approx(0, abs=1e-5)
    assert [kl for _, kl in steps_and_kl(tmp_path / "loaded")] == pytest.approx(kept, abs=1e-3)


def test_a_reference_that_does_not_fit_costs_the_kl_and_not_the_run(
    model_folder: Path, pairs_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_big(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 14 GiB.")

    monkeypatch.setattr(reference_module, "load_frozen", too_big)
    result, text = said(config_of(model_folder, pairs_file, tmp_path / "run", **DRAWS, eval_kl=True))
    assert result.num_steps == 6
    assert text.count("samples: no KL from now on: OutOfMemoryError: CUDA out of memory.") == 1
    assert [kl for _, kl in steps_and_kl(tmp_path / "run")] == [None, None]


def test_a_model_that_cannot_generate_is_reported_once_and_trained_anyway(
    model_folder: Path, pairs_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def cannot(*_: Any, **__: Any) -> None:
        calls.append(1)
        raise NotImplementedError("no cache for this model")

    monkeypatch.setattr(sampler_module, "generate", cannot)
    result, text = said(config_of(model_folder, pairs_file, tmp_path / "run", **EVALUATES))
    assert result.num_steps == 6
    assert len(calls) == 1
    assert text.count("samples: none are drawn: NotImplementedError: no cache for this model") == 1
    assert not (tmp_path / "run" / "samples.jsonl").exists()


def test_prompts_that_leave_no_room_are_reported_in_one_line(
    model_folder: Path, pairs_file: Path, tmp_path: Path
) -> None:
    settings = {**DRAWS, "eval_sample_tokens": 256}
    _, text = said(config_of(model_folder, pairs_file, tmp_path / "run", **settings, epochs=1))
    assert "samples: none are drawn: no prompt leaves room for 256 tokens" in text


def test_a_sharded_model_is_not_drawn_from(
    model_folder: Path, pairs_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampler_module, "is_sharded", lambda _: True)
    result, text = said(config_of(model_folder, pairs_file, tmp_path / "run", **EVALUATES))
    assert result.num_steps == 6
    assert text.count("samples: none are drawn: the model is sharded") == 1
    with pytest.raises(ConfigError, match="judge: there are no samples to rate: the model is sharded"):
        train(config_of(model_folder, pairs_file, tmp_path / "judged", **EVALUATES), sample_measures=[Length()])


class Length:
    """A measure of samples: how much longer they are than those before the first step."""

    def __init__(self, *, fails_at: int | None = None) -> None:
        self.fails_at = fails_at
        self.steps: list[int] = []

    def __call__(self, drawn: DrawnSamples, start: Sequence[str]) -> Mapping[str, float]:
        if drawn.step == self.fails_at:
            raise JudgeError("judge = python:m:f: gave 'perhaps'.")
        self.steps.append(drawn.step)
        before = sum(map(len, start))
        return {"longer": float(sum(map(len, drawn.completions)) - before), "before": float(before)}


def test_a_measure_of_samples_is_logged_and_compares_with_the_start_also_in_a_resumed_run(
    model_folder: Path, pairs_file: Path, tmp_path: Path
) -> None:
    measure = Length()
    settings = {**EVALUATES, "eval_every": 3, "save_every": 3, "learning_rate": 3e-2}
    train(config_of(model_folder, pairs_file, tmp_path / "run", **settings, epochs=2), sample_measures=[measure])
    assert measure.steps == [0, 3, 6]
    longer, before = (history(tmp_path / "run", f"eval_{name}") for name in ("longer", "before"))
    assert longer[0] == 0
    assert longer[1] != 0
    shutil.rmtree(tmp_path / "run" / "checkpoint-6")
    (tmp_path / "run" / "summary.json").unlink()  # as if killed
    train(
        config_of(model_folder, pairs_file, tmp_path / "run", **settings, epochs=2, resume=True),
        sample_measures=[measure],
    )
    assert history(tmp_path / "run", "eval_before")[3:] == before[:1] * len(
        history(tmp_path / "run", "eval_before")[3:]
    )
    assert history(tmp_path / "run", "eval_longer")[-1] == longer[-1]


def test_a_run_whose_first_samples_are_lost_says_that_nothing_can_be_compared_with_them(
    model_folder: Path, pairs_file: Path, tmp_path: Path
) -> None:
    settings = {**EVALUATES, "eval_every": 3, "save_every": 3, "keep_checkpoints": 2}
    train(config_of(model_folder, pairs_file, tmp_path / "run", **settings))
    shutil.rmtree(tmp_path / "run" / "checkpoint-6")
    (tmp_path / "run" / "summary.json").unlink()  # as if killed
    (tmp_path / "run" / "samples.jsonl").unlink()
    with pytest.raises(OutputError, match=r"samples.jsonl: lacks the samples of step 0"):
        train(
            config_of(model_folder, pairs_file, tmp_path / "run", **settings, resume=True), sample_measures=[Length()]
        )


def test_a_failing_measure_ends_the_run_because_it_was_requested(
    model_folder: Path, pairs_file: Path, tmp_path: Path
) -> None:
    config = config_of(model_folder, pairs_file, tmp_path / "run", **EVALUATES)
    with pytest.raises(JudgeError, match="gave 'perhaps'"):
        train(config, sample_measures=[Length(fails_at=3)])
    assert len(history(tmp_path / "run", "eval_longer")) == 1


def test_the_rules_of_health_see_the_samples(
    model_folder: Path, pairs_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, float] = {}
    whole = HealthMonitor.see

    def see(self: HealthMonitor, step: int, logs: Any, *rest: Any) -> Any:
        seen.update(logs)
        return whole(self, step, logs, *rest)

    monkeypatch.setattr(HealthMonitor, "see", see)
    train(config_of(model_folder, pairs_file, tmp_path / "run", **EVALUATES))
    assert {"eval_samples/entropy", "eval_samples/num_tokens", "eval_samples/finished"} <= seen.keys()
    assert "lengths" in json.loads((tmp_path / "run" / "health.json").read_text())["rules"]
