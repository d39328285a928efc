"""Folds that share no prompt, and a run without each of them."""

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from preftune.data import normalised_prompt
from preftune.data.convert import Conversion, Converter
from preftune.errors import DataError, TrainingError
from preftune.groups import PromptGroup
from preftune.runs.run import train
from preftune.runs.run_folder import RunFolder
from preftune.settings import TrainConfig

__all__ = ["Fold", "fold_config", "fold_run", "folds_by_prompt"]

_SUMMARY = "summary.json"

_OF_OTHER_DATA: Mapping[str, Any] = {
    "split": None, "format": None, "columns": {}, "where": [], "mix": [], "prompts_per_epoch": None, "pairing": None,
    "min_score_gap": 0.0, "eval_data": [], "eval_split": None, "eval_fraction": 0.0, "keep": "last", "metric": None,
    "kl_budget": None, "early_stopping": None, "report_to": "none", "run_name": None, "overwrite": False,
    "check_data": False, "eval_samples": 0, "eval_kl": False, "judge": None, "judge_samples": 64,
    "judge_against": "start",
}  # fmt: skip
"""Settings of a run that belong to its files, or choose by held-out data: here a fold is held out from all choices."""


@dataclass(frozen=True, slots=True)
class Fold:
    """One part of the data, and all others.

    Args:
        train: What a run learns from.
        held_out: What it is asked about; no prompt is in both.
    """

    train: tuple[PromptGroup, ...]
    held_out: tuple[PromptGroup, ...]


def folds_by_prompt(groups: Sequence[PromptGroup], num_folds: int, *, seed: int = 0) -> list[Fold]:
    """Folds with as many distinct prompts each, give or take one.

    Args:
        groups: What to split, whole prompts at a time: those that differ in case or white space alone are one.
        num_folds: At least 2.
        seed: Another seed splits otherwise.
    Raises:
        DataError: fewer prompts than folds.

    >>> from preftune.groups import Completion, Origin
    >>> groups = [PromptGroup(text, (Completion("4"),), (), Origin("sums", 1)) for text in ("2+2=", "2+2= ", "1+3=")]
    >>> sorted(len(fold.held_out) for fold in folds_by_prompt(groups, 2))
    [1, 2]
    """
    prompts = [normalised_prompt(group.prompt) for group in groups]
    ranked = sorted(set(prompts), key=lambda prompt: _digest(f"{seed}\n{prompt}"))
    if len(ranked) < num_folds:
        raise DataError(
            f"the data have {len(ranked):,} distinct prompts, too few for {num_folds} folds. Ask for fewer with "
            "--folds, or give more data."
        )
    number = {prompt: rank % num_folds for rank, prompt in enumerate(ranked)}
    return [
        Fold(
            train=tuple(group for group, prompt in zip(groups, prompts, strict=True) if number[prompt] != fold),
            held_out=tuple(group for group, prompt in zip(groups, prompts, strict=True) if number[prompt] == fold),
        )
        for fold in range(num_folds)
    ]


def fold_config(config: TrainConfig, groups: Sequence[PromptGroup], folder: Path) -> TrainConfig:
    """The settings of a run that learns from `groups` as the run of `config` learned from its data.

    The data are written below `folder`, in a folder named by them and the settings: the same call finds the same
    folder, and another one does not.

    Args:
        config: Of the run.
        groups: What to learn from, with pairs.
        folder: Where the run goes.
    Raises:
        DataError, ConfigError: the data are not what the method learns from.
    """
    rows = Converter(config.method.feedback).rows(groups, Conversion())
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    settings = {**config.flat(), **_OF_OTHER_DATA, "data": ["fold"], "output": "fold"}
    place = folder / _digest(json.dumps(settings, sort_keys=True, default=str) + text)
    place.mkdir(parents=True, exist_ok=True)
    file = place / "data.jsonl"
    file.write_text(text, encoding="utf-8")
    return TrainConfig.of(**{**settings, "data": [str(file)], "output": str(place / "run"), "resume": _resumes(place)})


def fold_run(config: TrainConfig, *, console: Console) -> Path:
    """Train as `config` says, or go on, or use what an earlier call trained.

    Args:
        config: What `fold_config` gave.
        console: Where progress goes.
    Returns:
        Folder of the run.
    Raises:
        KeyboardInterrupt: a signal ended it; the same call goes on.
        TrainingError: the run was sick.
    """
    folder = Path(config.output.output)
    if _is_done(folder):
        console.print(f"used again: {folder}", highlight=False)
        return folder
    if not config.output.resume:
        shutil.rmtree(folder, ignore_errors=True)
    result = train(config, console=console)
    if result.stopped_early:
        raise KeyboardInterrupt
    if result.stopped_sick:
        raise TrainingError(
            f"{folder}: the run without a fold was sick and ended, so the fold cannot be judged. Look at its "
            "metrics.jsonl; a run with a lower learning rate may be well."
        )
    return folder


def _is_done(folder: Path) -> bool:
    try:
        summary = json.loads((folder / _SUMMARY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return not (summary["stopped_early"] or summary.get("stopped_sick"))


def _resumes(place: Path) -> bool:
    return not _is_done(place / "run") and RunFolder(place / "run").last_checkpoint() is not None


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
