"""Rows, a tiny model and a config for runs of `DPOTrainer`."""

import random
from pathlib import Path
from typing import Any

from transformers import LlamaForCausalLM

from preftune import DPOConfig
from tests.builders import tiny_llama
from tests.data.tokenizers_for_tests import make_tokenizer

__all__ = ["TOKENIZER", "config_of", "losses", "make_model", "make_rows"]

TOKENIZER = make_tokenizer()


def make_rows(count: int = 32, *, seed: int = 0) -> list[dict[str, Any]]:
    """Pairs in which the answer that speaks of cake is preferred."""
    rng = random.Random(seed)
    words = ("capital", "France", "eggs", "flour", "four", "eight", "hour", "mix")

    def text(least: int, most: int) -> str:
        return "".join(" " + rng.choice(words) for _ in range(rng.randint(least, most)))

    return [
        {"prompt": f"What{text(1, 5)}?", "chosen": f"{text(0, 3)} cake.", "rejected": f"{text(1, 4)}."}
        for _ in range(count)
    ]


def make_model(**settings: Any) -> LlamaForCausalLM:
    """A tiny Llama for the tokenizer; the same weights each time, if the seed of torch is."""
    return tiny_llama(vocab_size=len(TOKENIZER), eos_token_id=TOKENIZER.eos_token_id, **settings)


def config_of(folder: Path, **changes: Any) -> DPOConfig:
    """A config of short runs in which every step is logged."""
    settings: dict[str, Any] = {
        "output_dir": str(folder / "out"),
        "learning_rate": 1e-3,
        "num_train_epochs": 2,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
    }
    return DPOConfig(**{**settings, **changes})


def losses(trainer: Any) -> list[float]:
    """The loss of every step."""
    return [log["loss"] for log in trainer.state.log_history if "loss" in log]
