import json
import os
import shutil
import signal
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from preftune.errors import ConfigError, ModelError, OutputError
from preftune.evaluation.evaluate import evaluate
from preftune.evaluation.result import EvaluationResult, tables_of
from preftune.files.json_files import as_json
from preftune.runs.run import train
from preftune.settings.evaluation_config import EvaluationConfig
from tests.builders import tiny_llama
from tests.data.tokenizers_for_tests import make_tokenizer
from tests.judges.openai_server import TEMPLATE, OpenAIServer, running_server
from tests.runs.inputs import config_of, write_model, write_pairs

QUICK: dict[str, Any] = {"resamples": 50}
SAMPLES: dict[str, Any] = {**QUICK, "samples": 2, "max_new_tokens": 6}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, pairs, and two runs: of all weights and of an adapter."""
    folder = tmp_path_factory.mktemp("world")
    (folder / "cache").write_text(os.environ["PREFTUNE_CACHE"])
    torch.manual_seed(0)
    write_model(folder / "base", num_hidden_layers=1)
    write_pairs(folder / "pairs.jsonl", count=20)
    for name, settings in (("full", {}), ("adapter", {"lora": True, "lora_rank": 4})):
        config = config_of(
            folder / "base", folder / "pairs.jsonl", folder / name,
            eval_fraction=0.2, learning_rate=0.01, beta=0.3, save_every=2, keep_checkpoints=5, **settings,
        )  # fmt: skip
        result = train(config)
        (folder / f"{name}.json").write_text(json.dumps(as_json(result.held_out)))
    return folder


def evaluated(model: Path | str, *, console: Console | None = None, **settings: Any) -> EvaluationResult:
    return evaluate(EvaluationConfig.of(model=str(model), **{**QUICK, **settings}), console=console)


def last_of(world: Path, run: str, metric: str) -> float:
    """What training said of the held-out data at its end."""
    values: dict[str, dict[str, float]] = json.loads((world / f"{run}.json").read_text())
    return values[metric]["last"]


@pytest.mark.parametrize("run", ["full", "adapter"])
def test_a_run_is_evaluated_on_what_it_held_out_with_the_numbers_of_its_training(
    run: str, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFTUNE_CACHE", (world / "cache").read_text())
    console = Console(record=True, width=200, file=StringIO())
    found = evaluated(world / run, console=console)
    assert found.preferences is not None
    pairs = found.preferences.pairs
    assert pairs is not None
    assert found.preferences.reward is not None
    assert found.preferences.reward.beta == 0.3
    for metric, interval in (
        ("rewards/margins", pairs.margin),
        ("rewards/accuracies", pairs.accuracy),
        ("loss", pairs.calibration.log_loss),
    ):
        assert interval.value == pytest.approx(last_of(world, run, metric), abs=2e-5)
    assert "0 log-probs computed" in console.export_text()  # training has kept them
    assert EvaluationResult.read(world / run / "evaluation.json").as_dict() == found.as_dict()


def test_a_disabled_adapter_equals_a_separate_base_as_reference(world: Path, tmp_path: Path) -> None:
    settings = {"data": str(world / "pairs.jsonl"), "json": str(tmp_path / "r.json"), "overwrite": True, **SAMPLES}
    switched_off = evaluated(world / "adapter", **settings)
    assert switched_off.reference == f"{world / 'base'} (adapter off)"
    shutil.copytree(world / "base", tmp_path / "copy of base")
    beside = evaluated(world / "adapter", reference=str(tmp_path / "copy of base"), **settings)
    assert beside.reference == str(tmp_path / "copy of base")
    assert switched_off.samples == beside.samples
    assert switched_off.preferences == beside.preferences


def test_a_checkpoint_is_evaluated_like_its_run(world: Path) -> None:
    checkpoint = next(world.glob("full/checkpoint-*"))
    found = evaluated(checkpoint)
    assert found.reference == str(world / "base")
    assert (checkpoint / "evaluation.json").is_file()


def test_a_plain_model_has_log_probs_only_and_writes_no_file(world: Path) -> None:
    found = evaluated(world / "base", data=str(world / "pairs.jsonl"))
    assert found.preferences is not None
    assert (found.reference, found.preferences.reward, found.preferences.pairs) == (None, None, None)
    assert found.preferences.reference_free.accuracy_by_mean is not None
    assert not (world / "base" / "evaluation.json").exists()


def test_the_same_settings_give_the_same_result(world: Path, tmp_path: Path) -> None:
    first, again = (
        evaluated(world / "full", json=str(tmp_path / f"{name}.json"), **SAMPLES).as_dict() for name in ("a", "b")
    )
    assert first == again


def test_a_result_file_is_not_replaced_unasked(world: Path, tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    file.write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        evaluated(world / "full", json=str(file))
    assert file.read_text() == "mine"
    evaluated(world / "full", json=str(file), overwrite=True)
    assert EvaluationResult.read(file).model == str(world / "full")


def test_data_may_be_lists_with_scores(world: Path, tmp_path: Path) -> None:
    rows = [
        {"prompt": f"What is {n}+{n}?", "completions": [f" {n}", f" {2 * n}.", " So?"], "scores": [0.0, 1.0, 0.5]}
        for n in range(1, 7)
    ]
    (tmp_path / "lists.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = evaluated(
        world / "full", data=str(tmp_path / "lists.jsonl"), json=str(tmp_path / "result.json")
    ).preferences
    assert found is not None
    assert found.lists is not None
    assert found.pairs is not None
    assert (found.lists.num_lists, found.pairs.num_pairs) == (6, 18)
    assert {part.kind for part in found.pairs.slices} == {"length", "margin"}


def test_several_sources_are_distinguished(world: Path, tmp_path: Path) -> None:
    other = write_pairs(tmp_path / "other.jsonl", count=3)
    found = evaluated(
        world / "full", data=[str(world / "pairs.jsonl"), str(other)], json=str(tmp_path / "r.json")
    ).preferences
    assert found is not None
    assert found.pairs is not None
    parts = {part.label: part.num_pairs for part in found.pairs.slices if part.kind == "source"}
    assert parts == {str(world / "pairs.jsonl"): 20, str(other): 3}


@pytest.fixture
def judges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"judges_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text("def length(prompt, completion):\n    return len(completion)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return f"python:{name}:length"


def test_temperatures_are_swept_against_the_reference(judges: str, world: Path, tmp_path: Path) -> None:
    found = evaluated(
        world / "full", judge=judges, temperature=[0.0, 0.5, 1.0], max_new_tokens=6, json=str(tmp_path / "r.json")
    )
    assert [rate.temperature for rate in found.win_rates] == [0.0, 0.5, 1.0]
    assert {rate.against for rate in found.win_rates} == {"reference"}
    assert {rate.num_comparisons for rate in found.win_rates} == {4}  # one sample of each prompt held out
    assert found.samples is not None
    assert found.win_rates[0].our_score is not None


def test_a_model_against_itself_draws_even_and_is_as_likely_to_be_longer(judges: str, world: Path) -> None:
    found = evaluated(
        world / "base", data=str(world / "pairs.jsonl"), against=str(world / "base"), judge=judges,
        samples=8, max_new_tokens=6, resamples=200,
    )  # fmt: skip
    (rate,) = found.win_rates
    assert rate.against == str(world / "base")
    assert 0.5 in rate.rate
    assert rate.ties < 0.9  # drawn by a seed of their own


def test_chosen_answers_are_an_opponent(judges: str, world: Path) -> None:
    found = evaluated(world / "base", data=str(world / "pairs.jsonl"), judge=judges, samples=3, max_new_tokens=4)
    (rate,) = found.win_rates
    assert (rate.against, rate.num_comparisons) == ("chosen", 60)


def test_best_of_has_a_higher_implicit_reward_than_its_source(judges: str, world: Path, tmp_path: Path) -> None:
    one, many = (
        evaluated(
            world / "full", best_of=number, best_of_from="reference", max_new_tokens=6, json=str(tmp_path / f"{number}")
        ).best_of
        for number in (2, 16)
    )
    assert one is not None
    assert many is not None
    assert many.reward.value > one.reward.value
    assert many.win_rate is None
    judged = evaluated(
        world / "full", best_of=4, best_of_from="policy", max_new_tokens=6, judge=judges, json=str(tmp_path / "j")
    ).best_of
    assert judged is not None
    assert judged.win_rate is not None
    assert (judged.source, judged.win_rate.against) == ("policy", "policy")
    assert judged.reward.value > judged.plain_reward.value


def test_prompts_of_a_file_are_continued(world: Path, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("What is\nWho is\n")
    found = evaluated(world / "base", prompts=str(tmp_path / "prompts.txt"), **SAMPLES)
    assert found.preferences is None
    assert found.samples is not None
    assert (found.samples.num_prompts, found.samples.kl) == (2, None)
    assert [example.prompt for example in found.samples.examples] == ["What is", "Who is"]


def test_an_endpoint_is_paid_once_for_a_verdict(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "judge.jinja").write_text(TEMPLATE)
    settings = {
        "judge": "openai:judge", "judge_prompt": str(tmp_path / "judge.jinja"), "against": "chosen", **SAMPLES,
        "json": str(tmp_path / "r.json"), "overwrite": True,
    }  # fmt: skip
    with running_server() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.delenv("OPENAI_API_KEY", raising=False)
        first = evaluated(world / "full", **settings)
        assert server.verdicts.total() == len(server.verdicts) == 2 * 2 * 4
        again = evaluated(world / "full", **settings)
        assert server.verdicts.total() == 16
        assert again.win_rates == first.win_rates
        partial = evaluated(world / "full", **{**settings, "seed": 5, "judge_budget": 10})
        assert server.verdicts.total() == 26
        assert (partial.win_rates[0].num_comparisons, partial.win_rates[0].num_without_verdict) == (5, 3)


@pytest.mark.parametrize("run", ["full", "adapter"])
def test_strength_1_is_the_model_and_0_its_reference(run: str, world: Path, tmp_path: Path) -> None:
    settings = {"json": str(tmp_path / "r.json"), "overwrite": True, **SAMPLES}
    plain, as_plain, as_reference = (
        evaluated(world / run, strength=strength, **settings) for strength in (None, 1.0, 0.0)
    )
    assert as_plain.strength == 1
    assert {**as_plain.as_dict(), "strength": None} == plain.as_dict()
    assert as_reference.preferences is not None
    assert as_reference.preferences.pairs is not None
    assert as_reference.preferences.pairs.accuracy.value == 0.5
    assert as_reference.samples is not None
    assert as_reference.samples.kl is not None
    assert as_reference.samples.kl.value == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("run", ["full", "adapter"])
def test_a_mix_moves_from_the_reference_to_the_model_and_beyond(run: str, world: Path, tmp_path: Path) -> None:
    settings = {"json": str(tmp_path / "r.json"), "overwrite": True, **SAMPLES, "samples": 40}
    found = [evaluated(world / run, strength=strength, **settings) for strength in (0.25, 0.5, 1.0, 2.0)]
    for result, strength in zip(found, (0.25, 0.5, 1.0, 2.0), strict=True):
        assert result.strength == strength
        assert result.preferences is not None
        assert result.preferences.reward is not None
        assert result.preferences.reward.beta == pytest.approx(0.3 / strength)
    divergences = [result.samples.kl.value for result in found if result.samples is not None and result.samples.kl]
    assert len(divergences) == 4
    assert divergences == sorted(divergences)
    assert divergences[0] > 0
    assert not list((world / run).glob("evaluation-strength*"))


def test_an_adapter_mixes_with_its_disabled_self_as_with_a_separate_base(world: Path, tmp_path: Path) -> None:
    settings = {"json": str(tmp_path / "r.json"), "overwrite": True, "strength": 0.5, **SAMPLES}
    switched_off = evaluated(world / "adapter", **settings)
    shutil.copytree(world / "base", tmp_path / "copy of base")
    beside = evaluated(world / "adapter", reference=str(tmp_path / "copy of base"), **settings)
    assert beside.samples is not None
    assert switched_off.samples is not None
    assert beside.samples.examples == switched_off.samples.examples
    for first, second in (
        (beside.samples.kl, switched_off.samples.kl),
        (beside.samples.entropy, switched_off.samples.entropy),
    ):
        assert first is not None
        assert second is not None
        assert first.value == pytest.approx(second.value, abs=1e-5)


def test_a_mix_is_judged_and_shown_as_such(judges: str, world: Path, tmp_path: Path) -> None:
    console = Console(record=True, width=200, file=StringIO())
    found = evaluated(
        world / "full", strength=0.5, beta=0.3, judge=judges, best_of=3, best_of_from="policy", max_new_tokens=6,
        json=str(tmp_path / "r.json"), console=console,
    )  # fmt: skip
    assert EvaluationResult.read(tmp_path / "r.json").strength == 0.5
    assert found.preferences is not None
    assert found.preferences.reward is not None
    assert found.preferences.reward.beta == 0.3  # as it was given
    for table in tables_of(found):
        console.print(table)
    shown = " ".join(console.export_text().split())  # titles are as wide as their tables
    for text in (
        "strength: 0.5, of a mix of the reference (0) and the model (1)",
        "Preferences of 4 prompts at strength 0.5;",
        "Samples at strength 0.5:",
        "the model at strength 0.5 against reference",
        "against a sample of the policy at strength 0.5",
    ):
        assert text in shown, text


def test_models_that_cannot_be_mixed_are_refused(world: Path, tmp_path: Path) -> None:
    data: dict[str, Any] = {"data": str(world / "pairs.jsonl"), "strength": 0.5}
    with pytest.raises(ConfigError, match=r"strength = 0\.5: mixes the model with its reference, .* Name the model"):
        evaluated(world / "base", **data)
    tokenizer = make_tokenizer()
    bigger = tiny_llama(vocab_size=len(tokenizer) + 2, num_hidden_layers=1)
    bigger.save_pretrained(tmp_path / "bigger")
    with pytest.raises(ModelError, match=r"strength = 0\.5: the model gives probabilities to 340 tokens, the refer"):
        evaluated(world / "base", reference=str(tmp_path / "bigger"), **data)
    shutil.copytree(world / "base", tmp_path / "other tokens")
    file = tmp_path / "other tokens" / "tokenizer.json"
    values = json.loads(file.read_text())
    vocabulary = values["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    file.write_text(json.dumps(values))
    with pytest.raises(ModelError, match=r"differ in 2 tokens: '[ab]' is"):
        evaluated(world / "base", reference=str(tmp_path / "other tokens"), **data)


def test_invalid_settings_are_reported_before_sampling(world: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="against = reference: the model is not a run"):
        evaluated(world / "base", data=str(world / "pairs.jsonl"), judge="python:builtins:pow", against="reference")
    with pytest.raises(ConfigError, match="best_of: the implicit reward needs a reference"):
        evaluated(world / "base", data=str(world / "pairs.jsonl"), best_of=2, max_new_tokens=4)
    with pytest.raises(ModelError, match="Name another one with --reference"):
        evaluated(world / "full", reference=str(tmp_path))


CONCURRENCY = 2


@pytest.fixture(scope="module")
def interrupted_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("interrupted_world")
    torch.manual_seed(0)
    write_model(folder / "base", num_hidden_layers=1)
    write_pairs(folder / "pairs.jsonl", count=15)
    (folder / "judge.jinja").write_text(TEMPLATE)
    return folder


def start(interrupted_world: Path, server: OpenAIServer, cache: Path, result: Path) -> subprocess.Popen[str]:
    command = [
        *(sys.executable, "-m", "preftune", "eval", "--model", "base", "--data", "pairs.jsonl", "--json", str(result)),
        *("--judge", "openai:judge", "--judge-prompt", "judge.jinja", "--judge-concurrency", str(CONCURRENCY)),
        *("--samples", "2", "--max-new-tokens", "5", "--resamples", "50"),
    ]
    environment = {**os.environ, "OPENAI_BASE_URL": server.url, "PREFTUNE_CACHE": str(cache), "COLUMNS": "120"}
    return subprocess.Popen(
        command, cwd=interrupted_world, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def table_of(process: subprocess.Popen[str]) -> str:
    """What the command prints, without the name of its file."""
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return output.rpartition("result:")[0]


@pytest.mark.slow
@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_evaluation_resumes_and_gives_the_same_table(
    kill: signal.Signals, interrupted_world: Path, tmp_path: Path
) -> None:
    with running_server() as server:
        expected = table_of(start(interrupted_world, server, tmp_path / "other cache", tmp_path / "expected.json"))
    with running_server(seconds=0.05) as server:
        process = start(interrupted_world, server, tmp_path / "cache", tmp_path / "result.json")
        while server.verdicts.total() < 15 and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(kill)
        process.communicate(timeout=300)
        assert process.returncode == (-9 if kill == signal.SIGKILL else 130)
        assert not (tmp_path / "result.json").exists()
        num_before = server.verdicts.total()
        assert 15 <= num_before < 60
        found = table_of(start(interrupted_world, server, tmp_path / "cache", tmp_path / "result.json"))
        assert found == expected
        # Calls under way at a kill were answered to nobody; an interruption waits for them.
        asked_again = server.verdicts.total() - len(server.verdicts)
        assert asked_again <= (CONCURRENCY if kill == signal.SIGKILL else 0)
    assert (tmp_path / "result.json").read_text() == (tmp_path / "expected.json").read_text()
