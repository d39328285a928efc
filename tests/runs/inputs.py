"""A tiny model folder, a file of preferences and settings for whole runs."""

import json
from pathlib import Path
from typing import Any

from preftune.settings import TrainConfig
from tests.builders import tiny_llama
from tests.data.tokenizers_for_tests import make_tokenizer

__all__ = ["config_of", "history", "write_model", "write_pairs"]


def write_model(folder: Path, **settings: Any) -> Path:
    """A tiny Llama with its tokenizer, as `save_pretrained` lays it out."""
    tokenizer = make_tokenizer()
    model = tiny_llama(vocab_size=len(tokenizer), eos_token_id=tokenizer.eos_token_id, **settings)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_pairs(path: Path, count: int = 12) -> Path:
    """Pairs in which the right sum is preferred."""
    rows = (
        {"prompt": f"What is {n}+{n}?", "chosen": f" It is {2 * n}.", "rejected": f" Maybe {2 * n + 1}, or not."}
        for n in range(1, count + 1)
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def config_of(model: Path, data: Path, output: Path, **settings: Any) -> TrainConfig:
    """Settings of a run of a few steps, without samples."""
    defaults: dict[str, Any] = {
        "batch_size": 4,
        "epochs": 2,
        "learning_rate": 1e-3,
        "precision": "fp32",
        "report_to": "none",
        "eval_samples": 0,
    }
    return TrainConfig.of(model=str(model), data=str(data), output=str(output), **{**defaults, **settings})


def history(folder: Path, name: str = "loss") -> list[float]:
    """The values of a metric in the run's log, step by step."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line[name] for line in lines if name in line]
