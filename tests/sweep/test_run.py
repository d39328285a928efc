import os
import shutil
import signal
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from torch import nn

from preftune.errors import ConfigError, JudgeError
from preftune.evaluation.result import EvaluationResult
from preftune.runs.result import RunResult
from preftune.runs.run import train
from preftune.settings import TrainConfig
from preftune.settings.sweep_config import SweepConfig
from preftune.sweep.picture import write_pictures
from preftune.sweep.result import SweepResult
from preftune.sweep.run import sharing_notes, sweep

TRAIN = "preftune.sweep.run_point.train"


class Sweeps:
    """Sweeps of two points on a tiny model, with what they print."""

    def __init__(self, model: Path, data: Path, folder: Path) -> None:
        self.base = {
            "model": str(model), "data": str(data), "eval_fraction": 0.2, "batch_size": 3, "epochs": 2.0,
            "learning_rate": 1e-2, "precision": "fp32", "report_to": "none", "eval_samples": 0, "check_data": False,
        }  # fmt: skip
        self.folder = folder
        self.text = ""

    def config(self, base: Mapping[str, Any] | None = None, **settings: Any) -> SweepConfig:
        own = {"output": str(self.folder), "over": ["beta=0.1,0.5"], **settings}
        return SweepConfig.of({**self.base, **(base or {})}, own, {"max_new_tokens": 5, "resamples": 40})

    def run(self, base: Mapping[str, Any] | None = None, **settings: Any) -> SweepResult:
        console = Console(file=StringIO(), width=200, record=True)
        try:
            return sweep(self.config(base, **settings), console=console)
        finally:
            self.text = console.export_text()


@pytest.fixture
def sweeps(model_folder: Path, pairs_file: Path, tmp_path: Path) -> Sweeps:
    return Sweeps(model_folder, pairs_file, tmp_path / "sweep")


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the run folders that training was called for, in order."""
    calls: list[str] = []

    def counting(config: TrainConfig, *, console: Console | None = None) -> RunResult:
        calls.append(Path(config.output.output).name)
        return train(config, console=console)

    monkeypatch.setattr(TRAIN, counting)
    return calls


def test_two_points_share_one_reference_pass_and_are_not_run_twice(sweeps: Sweeps, trained: list[str]) -> None:
    found = sweeps.run()
    assert [row.record.num_computed for row in found.points] == [20, 0]  # 10 prompts with 2 completions each
    assert [row.record.num_kept for row in found.points] == [0, 20]
    assert found.num_computed == 20
    assert "plan: " not in sweeps.text  # what a run says goes into its log
    assert "reference log-probs: 20 computed, 0 kept" in sweeps.text
    for row in found.points:
        assert row.record.status == "trained"
        kept = EvaluationResult.read(sweeps.folder / row.name / "evaluation.json")
        assert kept.preferences is not None
        assert kept.preferences.pairs is not None
        assert kept.samples is not None
        assert row.models[-1].value == kept.preferences.pairs.accuracy
        assert row.models[-1].kl == kept.samples.kl
        assert "plan: " in (sweeps.folder / "logs" / f"{row.name}.log").read_text()
    assert SweepResult.read(sweeps.folder).points == found.points
    assert trained == ["beta=0.1,seed=0", "beta=0.5,seed=0"]
    again = sweeps.run()
    assert trained == ["beta=0.1,seed=0", "beta=0.5,seed=0"]
    assert (again.points, again.recommendation, again.num_computed) == (found.points, found.recommendation, 20)
    assert "beta=0.1,seed=0 (done earlier): " in sweeps.text
    grown = sweeps.run(over=["beta=0.1,0.3,0.5"])
    assert trained[2:] == ["beta=0.3,seed=0"]
    assert grown.num_computed == 20
    shutil.rmtree(sweeps.folder / "beta=0.5,seed=0")
    renewed = sweeps.run(over=["beta=0.1,0.3,0.5"])
    assert trained[3:] == ["beta=0.5,seed=0"]
    assert renewed.points[2].models == grown.points[2].models


def test_checkpoints_rewards_and_a_realigned_run_are_on_the_picture(
    sweeps: Sweeps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "length_reward.py").write_text("def score(prompt, completion):\n    return len(completion)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = sweeps.run(
        {"save_every": 1, "keep_checkpoints": 2},
        reward="python:length_reward:score", realign="beta=0.1", strengths="0,1,2",
    )  # fmt: skip
    assert found.value == "score"
    first = found.points[0]
    assert [model.step for model in first.models] == [5, 6]
    assert (sweeps.folder / first.name / "checkpoint-5" / "evaluation.json").is_file()
    assert found.realigned is not None
    reference, same, further = found.realigned.models
    assert reference.kl.value == pytest.approx(0.0, abs=1e-5)
    assert same.value == first.models[-1].value
    assert same.kl.value == pytest.approx(first.models[-1].kl.value, abs=1e-5)
    assert further.strength == 2.0
    assert found.reference_value is not None
    picture = write_pictures(found)
    assert picture == sweeps.folder / "frontier.png"
    svg = (sweeps.folder / "frontier.svg").read_text()
    assert svg.count("http") == svg.count("http://www.w3.org") + svg.count("https://matplotlib.org") + svg.count(
        "http://purl.org"
    ) + svg.count("http://creativecommons.org")


def test_a_stopped_sweep_continues_from_the_checkpoint(
    sweeps: Sweeps, trained: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(config: TrainConfig, *, console: Console | None = None) -> RunResult:
        num_seen = 0

        def press_ctrl_c(model: nn.Module) -> dict[str, float]:
            nonlocal num_seen
            num_seen += 1
            if num_seen == 2:
                os.kill(os.getpid(), signal.SIGINT)
            return {}

        trained.append("interrupted")
        return train(config, console=console, measures=[press_ctrl_c])

    with monkeypatch.context() as patch:
        patch.setattr(TRAIN, interrupted)
        found = sweeps.run()
    assert found.stopped
    assert found.recommendation is None
    assert [row.record.status for row in found.points] == ["open", "open"]
    assert "beta=0.1,seed=0: Stopping after this" in sweeps.text
    again = sweeps.run()
    assert trained == ["interrupted", "beta=0.1,seed=0", "beta=0.5,seed=0"]
    assert not again.stopped
    assert [row.record.num_steps for row in again.points] == [6, 6]
    assert "resuming from checkpoint-" in (sweeps.folder / "logs" / "beta=0.1,seed=0.log").read_text()


def test_a_point_that_fails_is_written_down_and_tried_again(
    sweeps: Sweeps, tmp_path: Path, pairs_file: Path, trained: list[str]
) -> None:
    other = tmp_path / "other.jsonl"
    over = [f"data={other},{pairs_file}"]
    found = sweeps.run(over=over)
    failed, good = found.points
    assert failed.record.status == "failed"
    assert failed.record.error is not None
    assert failed.record.error.startswith("DataError: ")
    assert good.models
    assert found.num_failed == 1
    assert found.recommendation is not None
    assert list(found.recommendation.against_reference) == [good.setup]  # two held-out prompts show nothing
    assert found.recommendation.name is None
    assert "failed: DataError" in sweeps.text
    other.write_text(pairs_file.read_text())
    again = sweeps.run(over=over)
    assert again.num_failed == 0
    assert len(trained) == 3


def test_a_sick_point_is_never_recommended(sweeps: Sweeps) -> None:
    found = sweeps.run({"stop_on_sick": True, "epochs": 12.0, "max_grad_norm": 0.0}, over=["learning_rate=0.01,30"])
    statuses = {row.setup: row.record.status for row in found.points}
    assert statuses["learning_rate=30"] in ("sick", "failed")
    assert found.recommendation is not None
    assert found.recommendation.name != "learning_rate=30"


def test_a_search_runs_the_requested_number_of_points(sweeps: Sweeps, trained: list[str]) -> None:
    found = sweeps.run(over=[], search=["beta=0.1:1:log"], trials=1)
    assert [row.name.partition(",")[0] for row in found.points] == ["trial=000"]
    assert len(sweeps.run(over=[], search=["beta=0.1:1:log"], trials=2).points) == 2
    assert len(trained) == 2


def test_a_problem_of_all_points_is_reported_before_any_run(sweeps: Sweeps, trained: list[str]) -> None:
    with pytest.raises(JudgeError, match="cannot be imported"):
        sweeps.run(reward="python:no_such_module:f")
    with pytest.raises(ConfigError, match="compares two completions"):
        sweeps.run(reward="python:tests.sweep.test_run:prefers")
    with pytest.raises(ConfigError, match=r"realign = beta=0\.7: is neither a point nor the folder of a run"):
        sweeps.run(realign="beta=0.7")
    assert trained == []
    assert not sweeps.folder.exists()


def prefers(prompt: str, first: str, second: str) -> str:
    return "tie"


def test_a_package_that_one_point_needs_is_told_before_any_run(
    model_folder: Path, pairs_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("preftune.settings.packages.find_spec", lambda _package: None)
    base = {"model": str(model_folder), "data": str(pairs_file), "eval_fraction": 0.2, "report_to": "wandb"}
    over = "optimizer=adamw_torch,adamw_8bit,stable_adamw"
    with pytest.raises(ConfigError) as caught:
        sweep(SweepConfig.of(base, {"output": str(tmp_path / "sweep"), "over": over}))
    told = "\n".join(caught.value.problems)
    assert len(caught.value.problems) == 3
    for text in ("pip install wandb", "pip install bitsandbytes", "pip install torch-optimi"):
        assert text in told
    assert not (tmp_path / "sweep").exists()


def test_several_processes_are_refused(sweeps: Sweeps, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="in one process"):
        sweeps.run()


def notes(over: list[str], **base: Any) -> list[str]:
    settings = {"model": "gpt2", "data": "prefs.jsonl", "eval_fraction": 0.1, **base}
    return list(sharing_notes(SweepConfig.of(settings, {"output": "s", "over": over}).points()))


def test_points_of_one_model_share_the_reference() -> None:
    (note,) = notes(["beta=0.1,0.3"])
    assert "so they are computed once" in note


def test_points_of_several_models_share_it_by_model() -> None:
    assert notes(["model=gpt2,distilgpt2", "beta=0.1,0.3"]) == [
        "reference: points have 2 different ones; the log-probs of each are computed once"
    ]


def test_the_reason_why_a_point_shares_none_is_given() -> None:
    assert "keeps nothing" in notes(["beta=0.1,0.3"], reference_cache=False)[0]
    assert "whole distributions" in notes(["beta=0.1,0.3"], method="tdpo")[0]
    assert "moves with the policy" in notes(["beta=0.1,0.3"], reference_sync="hard")[0]
    first, second = notes(["method=simpo,dpo"])
    assert first == "reference: not shared by method=simpo,seed=0, as method simpo learns without one"
    assert "so they are computed once" in second
