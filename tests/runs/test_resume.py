"""A run that is interrupted anywhere and resumed is the run that was not."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from preftune.runs import run as run_module
from preftune.runs.progress import ProgressDisplay
from preftune.runs.run import train
from tests.runs.inputs import config_of
from tests.runs.same_run import assert_same_run
from tests.training.health.world import as_feedback, friendly_pairs, swapped, write_rows

COMMON: dict[str, Any] = {"batch_size": 2, "epochs": 2, "max_length": 64, "learning_rate": 3e-3, "keep_checkpoints": 9}
"""Twelve steps an epoch, twenty-four in all."""

LORA: dict[str, Any] = {"lora": True, "lora_rank": 4, "lora_dropout": 0.3}
RUNS: dict[str, dict[str, Any]] = {
    "dpo": {"save_every": 6, "eval_samples": 2, "eval_sample_tokens": 8},
    "kto with dropout": {"method": "kto", "save_every": 6, **LORA},
    "moved reference": {"save_every": 5, "log_every": 3, "reference_sync": "soft", "reference_sync_every": 4},
    "moved adapter": {"save_every": 5, "reference_sync": "soft", "reference_sync_every": 4, **LORA},
    "best": {"keep": "best", "metric": "loss", "early_stopping": 2, "eval_every": 4, "falls": True},
    "best by epoch": {"keep": "best", "metric": "loss", "epochs": 4, "early_stopping": 1, "falls": True},
    "sft": {"method": "sft", "save_every": 4, "eval_every": 8, "log_every": 7},
    "running mean": {"method": "bco", "save_every": 5, "eval_every": 6, "max_steps": 17},
    "no held-out data": {"save_every": 5, "eval_data": (), "eval_samples": 2, "eval_sample_tokens": 8},
}
CUTS: list[tuple[str, int]] = [
    ("on_step_begin", 3),
    ("on_step_begin", 8),
    ("on_log", 12),
    ("on_save", 12),
    ("on_prediction_step", 12),
    ("on_evaluate", 12),
    ("on_step_begin", 14),
    ("on_step_end", 17),
    ("on_train_end", 24),
]
QUICK = {
    ("dpo", "on_step_begin", 3),
    ("dpo", "on_train_end", 24),
    ("kto with dropout", "on_step_begin", 14),
    ("moved reference", "on_step_end", 17),
    ("moved adapter", "on_step_begin", 8),
    ("best", "on_save", 12),
    ("best by epoch", "on_step_begin", 14),
    ("sft", "on_step_end", 17),
    ("running mean", "on_evaluate", 12),
    ("no held-out data", "on_step_begin", 14),
}
"""All others are marked as slow."""

CASES = [
    pytest.param(name, *cut, marks=() if (name, *cut) in QUICK else pytest.mark.slow) for name in RUNS for cut in CUTS
]


class Cut(ProgressDisplay):
    """Ends the process, as far as a test can, at an event of a step."""

    def __init__(self, event: str, step: int) -> None:
        super().__init__(Console(quiet=True))
        setattr(self, event, self._end)
        self._step = step

    def _end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == self._step:
            raise SystemExit(137)


@pytest.fixture(scope="module")
def whole(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Path]]:
    """Runs by name that nothing interrupted, each made once."""
    made: dict[str, Path] = {}

    def run(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp("whole") / "run"
            start(name, model_folder, made[name])
        return made[name]

    yield run
    for folder in made.values():
        shutil.rmtree(folder)


def start(name: str, model: Path, folder: Path, **changes: Any) -> None:
    settings = {**COMMON, **RUNS[name]}
    method = settings.get("method", "dpo")
    feedback: Any = {"kto": "thumbs", "bco": "thumbs", "sft": "demonstrations"}.get(method, "pairs")
    held_out = friendly_pairs(6, 2)
    rows, other = friendly_pairs(24, 1), swapped(held_out) if settings.pop("falls", False) else held_out
    where = folder.parent.parent / name.replace(" ", "-")
    where.mkdir(exist_ok=True)
    data = write_rows(where / "rows.jsonl", list(as_feedback(rows, feedback))[:24])
    settings.setdefault("eval_data", write_rows(where / "held-out.jsonl", as_feedback(other, feedback)))
    train(config_of(model, Path(data), folder, **{**settings, **changes}), quiet=True)


def interrupted(name: str, model: Path, folder: Path, event: str, step: int, **changes: Any) -> bool:
    """Start or resume a run that ends at an event; false if the event did not come."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "ProgressDisplay", lambda _: Cut(event, step))
        try:
            start(name, model, folder, **changes)
        except SystemExit:
            return True
    return False


@pytest.mark.parametrize(("name", "event", "step"), CASES)
def test_a_resumed_run_is_the_run_without_a_break(
    name: str, event: str, step: int, whole: Callable[[str], Path], model_folder: Path, tmp_path: Path
) -> None:
    if not interrupted(name, model_folder, tmp_path / "run", event, step):
        pytest.skip("the run has no such event")
    start(name, model_folder, tmp_path / "run", resume=True)
    assert_same_run(whole(name), tmp_path / "run")
