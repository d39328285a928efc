"""Folders as runs leave them, small and written by hand."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from preftune.evaluation.calibration import Calibration, ReliabilityBin
from preftune.evaluation.pairs import Slice
from preftune.evaluation.preferences import PairAgreement, Preferences, ReferenceFree
from preftune.evaluation.result import EvaluationResult
from preftune.evaluation.samples import Example, Samples, Writing
from preftune.evaluation.win_rate import WinRate
from preftune.metrics.implicit_reward import ImplicitReward
from preftune.metrics.intervals import Interval
from preftune.settings import TrainConfig

__all__ = ["FINDING", "LOGS", "NASTY", "evaluation", "write_lines", "write_run"]

NASTY = "<script>alert(1)</script><img src=x onerror=alert(1)> & ]]> $a$ _x"

LOGS: Sequence[Mapping[str, Any]] = (
    {"step": 0, "eval_loss": 0.6931, "eval_rewards/accuracies": 0.5, "eval_rewards/margins": 0.0, "epoch": 0},
    {"step": 1, "loss": 0.6931, "rewards/accuracies": 0.5, "grad_norm": 1.5, "learning_rate": 0.0, "epoch": 0.1},
    {"step": 2, "loss": 0.65, "rewards/accuracies": 0.75, "grad_norm": math.nan, "tokens_per_second": 1500.0},
    {"step": 4, "loss": 0.6, "rewards/accuracies": 0.875, "grad_norm": 1.25, "peak_memory_gib": 1.5},
    {"step": 4, "eval_loss": 0.625, "eval_rewards/accuracies": 0.6875, "eval_rewards/margins": 0.25},
    {"step": 4, "train_runtime": 1.0, "train_loss": 0.6},
)

FINDING: Mapping[str, Any] = {
    "rule": "margin",
    "severity": "suspect",
    "title": "the margin runs away",
    "text": "it is 12",
    "advice": "Lower --epochs.",
    "step": 2,
    "worst_step": 4,
    "size": 1.2,
    "rows": ["pairs.jsonl:7"],
}

_CHECK = {
    "check": "duplicates",
    "severity": "warning",
    "title": "Rows that repeat an earlier row: 7",
    "count": 7,
    "total": 100,
    "share": 0.07,
    "unit": "rows",
    "why": "They count twice.",
    "advice": "Leave them out: `preftune clean --dedupe`.",
    "measures": {"groups": 3},
    "examples": [{"place": "pairs.jsonl:9", "note": "like pairs.jsonl:3", "text": NASTY}],
    "num_rows": 7,
    "rows": ["pairs.jsonl:9"],
}


def write_run(folder: Path, *, without: Sequence[str] = (), logs: Sequence[Any] = LOGS, **settings: Any) -> Path:
    """A finished DPO run with all that a run can have.

    Args:
        folder: Is made.
        without: Names of files that are left out.
        logs: Lines of `metrics.jsonl`.
        settings: In place of those of the run.
    """
    folder.mkdir(parents=True)
    chosen = {"method": "dpo", "beta": 0.25, "model": "a/base", "data": "pairs.jsonl", "eval_fraction": 0.25}
    config = TrainConfig.of(output=str(folder), **{**chosen, **settings})
    (folder / "config.yaml").write_text(config.to_yaml())
    contents = {
        "run.json": {
            "started": "2026-11-20T18:46:49+0000",
            "command": ["preftune", "train", "--data", "my pairs.jsonl"],
            "python": "3.11.7",
            "platform": "Linux",
            "versions": {"preftune": "0.1.0", "peft": None},
            "git": {"commit": "66ebf6dd9bc5ad9e", "has_changes": True},
        },
        "summary.json": _summary(folder),
        "health.json": {"findings": [], "rules": ["margin", "flat"], "not_applied": {"length": "pairs and lists"}},
        "data-check.json": _data_check(),
        "evaluation.json": evaluation().as_dict(),
    }
    for name, content in contents.items():
        if name not in without:
            (folder / name).write_text(json.dumps(content))
    lines = {"metrics.jsonl": logs, "samples.jsonl": [_samples(0, "before"), _samples(4, "after")]}
    for name, rows in lines.items():
        if name not in without:
            write_lines(folder / name, rows)
    if "model.safetensors" not in without:
        (folder / "model.safetensors").write_bytes(b"0" * 2048)
    return folder


def write_lines(path: Path, rows: Sequence[Any]) -> None:
    """A file of JSON with one object a line."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def evaluation(**fields: Any) -> EvaluationResult:
    """A result with every part but best-of-N."""
    values: dict[str, Any] = {
        "model": "run",
        "reference": "a/base",
        "data": ("held.jsonl",),
        "confidence": 0.95,
        "num_resamples": 1000,
        "seed": 0,
        "preferences": Preferences(
            num_groups=64,
            reward=ImplicitReward("logratio", 0.25),
            pairs=_pairs(),
            lists=None,
            reference_free=ReferenceFree(128, _interval(-40.0), _interval(-1.5), None, None, None, None),
        ),
        "samples": Samples(
            num_prompts=64,
            samples_per_prompt=1,
            max_new_tokens=80,
            kl=_interval(6.125),
            kl_per_token=_interval(0.125),
            entropy=_interval(1.25),
            policy=Writing(_interval(38.0), _interval(0.95), (0.1, 0.2, 0.3)),
            reference=Writing(_interval(30.0), _interval(0.95), (0.1, 0.2, 0.3)),
            length_drift=_interval(8.0),
            examples=(Example("Is it good?", " Yes.", " Perhaps."),),
        ),
        "win_rates": tuple(_win_rate(temperature) for temperature in (0.25, 1.0)),
        "best_of": None,
    }
    return EvaluationResult(**{**values, **fields})


def _interval(value: float) -> Interval:
    return Interval(value, value - 0.0625, value + 0.0625, 0.03, 64)


def _pairs() -> PairAgreement:
    sure = ReliabilityBin(0.6, 0.65, 20, 0.62, Interval(0.7, 0.5, 0.85, 0.1, 20))
    single = ReliabilityBin(0.9, 0.95, 1, 0.92, Interval(1.0, math.nan, math.nan, math.nan, 1))
    return PairAgreement(
        num_pairs=64,
        accuracy=_interval(0.6875),
        margin=_interval(0.25),
        chosen_reward=_interval(0.1),
        rejected_reward=_interval(-0.15),
        calibration=Calibration((sure, single), _interval(0.08), 0.05, _interval(0.625)),
        slices=(Slice("length", "chosen longer", 30, _interval(0.5), _interval(0.1)),),
    )


def _win_rate(temperature: float) -> WinRate:
    return WinRate(
        judge="python:judges:score",
        against="reference",
        temperature=temperature,
        num_comparisons=64,
        num_without_verdict=0,
        rate=_interval(0.75 if temperature == 1.0 else 0.875),
        wins=0.7,
        ties=0.1,
        losses=0.2,
        length_controlled=_interval(0.7),
        length_difference=_interval(12.0),
        first_share=None,
        disagreement=None,
        our_score=_interval(3.5),
        their_score=_interval(1.5),
    )


def _summary(folder: Path) -> dict[str, Any]:
    path = {"first": 0.6931, "last": 0.6, "best": 0.6, "best_step": 4}
    part = {"num_prompts": 48, "num_pairs": 50, "num_tokens": 4800, "dropped": [f"pairs.jsonl:{n}" for n in range(60)]}
    return {
        "folder": str(folder),
        "num_steps": 4,
        "train": {"loss": path},
        "held_out": {"loss": {**path, "last": 0.625}},
        "seconds": 75.4,
        "peak_memory_bytes": 2**31,
        "num_tokens": 9600,
        "data": {"train": part, "held out": {"num_prompts": 16, "num_pairs": 16, "num_tokens": 1600}},
        "stopped_early": False,
        "stopped_sick": False,
        "health": [],
        "kept": None,
    }


def _data_check() -> dict[str, Any]:
    return {
        "version": 1,
        "sources": ["pairs.jsonl"],
        "num_rows": 100,
        "seconds": 0.5,
        "checks": ["duplicates"],
        "skipped": {"tokens": "needs --tokenizer"},
        "findings": [_CHECK],
        "histograms": [],
        "checked": 100,
        "of": 400,
        "left_out": ["near-duplicates"],
    }


def _samples(step: int, word: str) -> dict[str, Any]:
    return {
        "step": step,
        "max_new_tokens": 32,
        "kl": None if step == 0 else 2.5,
        "entropy": 1.125,
        "mean_tokens": 20.5,
        "samples": [
            {"prompt": "Is it good?", "completion": f" It is {word}.", "finished": True},
            {"prompt": NASTY, "completion": f"{word} {NASTY}", "finished": False},
        ],
    }
