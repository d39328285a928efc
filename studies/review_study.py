"""Parts that the studies in the demo's world of reviews share: model, samples, settings of runs, command line."""

from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from preftune.demo.demo import DemoSize, run_demo
from preftune.model.generation.completions import Generation, generate

__all__ = ["MAX_NEW_TOKENS", "TUNING", "demo_folder", "load", "sampled", "study_parser"]

MAX_NEW_TOKENS = 80
"""Longest review."""

TUNING: dict[str, Any] = {"learning_rate": 3e-4, "batch_size": 32, "precision": "fp32", "report_to": "none"}
"""Settings that the runs of all studies share with the demo."""


def demo_folder(output: Path, *, seed: int, console: Console, size: DemoSize | None = None, needs: str = "sft") -> Path:
    """Folder of the demo below `output`. The demo runs, unless an earlier call has finished the run named `needs`."""
    folder = output / "demo"
    if not (folder / needs / "summary.json").is_file():
        run_demo(folder, seed=seed, overwrite=True, size=size, console=console)
    return folder


def load(folder: Path) -> PreTrainedModel:
    """The model of a run."""
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder)
    return model


def sampled(
    model: PreTrainedModel, tokenizer: Path, prompts: Sequence[str], *, num_samples: int, seed: int, console: Console
) -> list[list[Generation]]:
    """Reviews of the model for each prompt.

    Args:
        tokenizer: Folder that holds the tokenizer.
    """
    return generate(
        model,
        AutoTokenizer.from_pretrained(tokenizer),
        prompts,
        max_new_tokens=MAX_NEW_TOKENS,
        num_samples=num_samples,
        batch_tokens=64_000,
        seed=seed,
        show_progress=not console.quiet,
    )


def study_parser(name: str, description: str | None, *, output: str) -> ArgumentParser:
    """The command line of a study: the folder of its files and the seed. `name` is that of its module."""
    parser = ArgumentParser(prog=f"python -m studies.{name}", description=description)
    parser.add_argument("--output", type=Path, default=Path(output), help="folder for models, data and results")
    parser.add_argument("--seed", type=int, default=0)
    return parser
