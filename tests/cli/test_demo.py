import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from preftune.demo import demo
from preftune.demo.demo import DemoSize
from preftune.evaluation.result import EvaluationResult
from preftune.runs.result import RunResult
from preftune.runs.run import train
from preftune.settings import TrainConfig
from tests.cli.command_line import call

TINY = DemoSize(num_demonstrations=64, num_pair_prompts=24, num_test_prompts=24, dpo_epochs=1)


@pytest.fixture
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    # An untrained model rarely ends a text, so that no pair would come of its samples.
    monkeypatch.setattr(demo, "DemoSize", lambda: TINY)
    monkeypatch.setattr(demo, "is_usable", lambda generation: bool(generation.text))


def stopped(config: TrainConfig, *, console: Console) -> RunResult:
    """A training that Ctrl-C ends."""
    return replace(train(config, console=console), stopped_early=True)


@pytest.mark.usefixtures("_tiny")
def test_the_demo_shows_both_models_and_leaves_them_until_it_is_begun_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "demo"
    shown = call("demo", "--output", folder, "--seed", "3")
    assert shown.exit_code == 0, shown.output
    for part in ("positive continuations", "KL to SFT", "held-out preference accuracy", "The same prompt"):
        assert part in shown.output
    assert (folder / "dpo" / "model.safetensors").is_file()
    assert (folder / "curves-dpo.png").read_bytes().startswith(b"\x89PNG")
    assert shown.output.rstrip().endswith(f"report: {folder / 'dpo' / 'report.html'}")
    assert f"report: {folder / 'sft' / 'report.html'}" in shown.output
    result = json.loads((folder / "demo.json").read_text())
    assert len(result["examples"]) == 3
    assert result["kl"]["num_samples"] == 24
    evaluated = EvaluationResult.read(folder / "dpo" / "evaluation.json")
    assert evaluated.win_rates[0].our_score is not None
    assert evaluated.win_rates[0].our_score.value == pytest.approx(result["after"]["reward"]["mean"])

    assert "already holds a demo" in call("demo", "--output", folder).output
    monkeypatch.setattr(demo, "train", stopped)
    shown = call("demo", "--output", folder, "--overwrite")
    assert shown.exit_code == 130
    assert "Stopped." in shown.stderr
    assert not (folder / "pairs.jsonl").exists()


def test_the_demo_does_not_touch_other_files(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    refused = call("demo", "--output", tmp_path, "--overwrite")
    assert refused.exit_code == 2
    assert "other than those of a demo" in refused.output
    assert (tmp_path / "thesis.txt").exists()
