"""Pairs of short answers, of which the friendlier is preferred more often than not, and runs on them."""

import json
import math
import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from preftune.losses import LOSSES, Feedback
from preftune.runs.result import RunResult
from preftune.runs.run import train
from preftune.settings import TrainConfig

__all__ = ["as_feedback", "friendly_pairs", "longer_pairs", "nearly_equal_pairs", "run", "swapped", "write_rows"]

Row = dict[str, Any]

_GOOD, _BAD = ("good", "nice", "kind", "great"), ("bad", "dull", "rude", "poor")
_WORDS = (*_GOOD, *_BAD, "the", "a", "plain", "grey", "old", "new", "round", "tall")


def friendly_pairs(count: int, seed: int, *, noise: float = 1.0) -> Iterator[Row]:
    """The friendlier answer wins by Bradley-Terry; the less noise, the surer."""
    draw = random.Random(seed)
    while count:
        first, second = _answer(draw), _answer(draw)
        gap = (_friendliness(first) - _friendliness(second)) / noise
        if gap:
            chosen, rejected = (first, second) if draw.random() < 1 / (1 + math.exp(-gap)) else (second, first)
            yield _row(draw, chosen, rejected)
            count -= 1


def longer_pairs(count: int, seed: int) -> Iterator[Row]:
    """The answer that is longer by at least two words wins."""
    draw = random.Random(seed)
    while count:
        first, second = sorted((_answer(draw), _answer(draw)), key=lambda answer: len(answer.split()))
        if len(first.split()) + 2 <= len(second.split()):
            yield _row(draw, second, first)
            count -= 1


def nearly_equal_pairs(count: int, seed: int) -> Iterator[Row]:
    """Answers that differ in a single word."""
    draw = random.Random(seed)
    for _ in range(count):
        before, after = _words(draw, 4), _words(draw, 4)
        yield _row(draw, f"{before} new{after}", f"{before} old{after}")


def swapped(rows: Iterable[Row]) -> Iterator[Row]:
    """The same pairs, labelled the other way round."""
    return ({**row, "chosen": row["rejected"], "rejected": row["chosen"]} for row in rows)


def as_feedback(rows: Iterable[Row], feedback: Feedback) -> Iterator[Row]:
    """The same judgements for methods that learn from other feedback."""
    for row in rows:
        match feedback:
            case "pairs":
                yield {**row, "margin": 1.0}
            case "thumbs":
                yield {"prompt": row["prompt"], "completion": row["chosen"], "label": True}
                yield {"prompt": row["prompt"] + " ", "completion": row["rejected"], "label": False}
            case "lists":
                answers = [row["rejected"], row["chosen"]]
                yield {"prompt": row["prompt"], "completions": answers, "scores": [0.0, 1.0]}
            case "demonstrations":
                yield {"prompt": row["prompt"], "completion": row["chosen"]}


def write_rows(path: Path, rows: Iterable[Row]) -> str:
    """A file of rows; its path as settings want it."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def run(
    model: Path,
    folder: Path,
    rows: Iterable[Row],
    held_out: Iterable[Row] = (),
    *,
    trained: Callable[..., RunResult] = train,
    **settings: Any,
) -> RunResult:
    """A run on `rows`, in the folder `run` of `folder`, evaluated on `held_out` where there is any."""
    method = settings.get("method", "dpo")
    feedback = LOSSES[method].feedback if method in LOSSES else "pairs"
    held_out = list(held_out)
    if held_out:
        settings["eval_data"] = write_rows(folder / "held-out.jsonl", as_feedback(held_out, feedback))
    defaults: dict[str, Any] = {
        "batch_size": 8,
        "epochs": 2,
        "learning_rate": 3e-3,
        "precision": "fp32",
        "report_to": "none",
        "eval_samples": 0,
        "eval_sample_tokens": 16,
    }
    config = TrainConfig.of(
        model=str(model),
        data=write_rows(folder / "rows.jsonl", as_feedback(rows, feedback)),
        output=str(folder / "run"),
        **{**defaults, **settings},
    )
    return trained(config)


def _answer(draw: random.Random) -> str:
    return _words(draw, draw.randint(3, 9)) + "."


def _words(draw: random.Random, count: int) -> str:
    return "".join(f" {draw.choice(_WORDS)}" for _ in range(count))


def _friendliness(answer: str) -> int:
    words = answer.strip(" .").split()
    return sum(word in _GOOD for word in words) - sum(word in _BAD for word in words)


def _row(draw: random.Random, chosen: str, rejected: str) -> Row:
    return {
        "prompt": f"Say {draw.choice(_WORDS)} {draw.randint(1, 99)}:",
        "chosen": chosen,
        "rejected": rejected,
    }
