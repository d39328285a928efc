"""Five betas in the demo's world, and one realigned run: `python -m studies.beta_sweep`."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from preftune.demo.demo import DemoSize, run_demo
from preftune.demo.reviews.reward import SentimentReward
from preftune.settings.sweep_config import SweepConfig
from preftune.sweep.picture import draw_frontier, write_pictures
from preftune.sweep.result import SweepResult
from preftune.sweep.run import sweep
from preftune.sweep.table import summary_lines, tables_of
from studies.beta_sweep_page import page

__all__ = ["BetaSweepSize", "run_beta_sweep", "true_reward"]

_MAX_NEW_TOKENS = 80
_reward = SentimentReward()


@dataclass(frozen=True, slots=True)
class BetaSweepSize:
    """Size of the study.

    Args:
        betas: Beta of each run.
        realigned: Beta of the run that is mixed with its reference.
        strengths: Strengths of the mix; each approximates training with `realigned / strength`.
        save_every: Steps between checkpoints; all are evaluated.
        samples: Completions per held-out prompt.
        demo: Size of the demo that makes the SFT model and the pairs.
    """

    betas: Sequence[float] = (0.01, 0.03, 0.1, 0.3, 1.0)
    realigned: float = 0.1
    strengths: Sequence[float] = (0.1, 0.333, 0.5, 0.75, 1.0, 1.25, 1.5)
    save_every: int = 19
    samples: int = 2
    demo: DemoSize = field(default_factory=DemoSize)


def true_reward(_prompt: str, completion: str) -> float:
    """The world's own reward of a completion, as a sweep calls it. Unit: nats.

    >>> true_reward("The", " plot was brilliant.") == SentimentReward()(" plot was brilliant.")
    True
    """
    return _reward(completion)


def run_beta_sweep(
    output: Path, *, size: BetaSweepSize | None = None, seed: int = 0, console: Console | None = None
) -> SweepResult:
    """Train the demo's SFT model at several betas, and compare the frontier with that of one realigned run.

    Args:
        output: Folder of all files. Files of an earlier call are reused.
        size: Size of the study; the default takes about a quarter of an hour on two cores.
        seed: Seed of all random choices.
        console: Where progress goes; default: nowhere.
    """
    size, console = size or BetaSweepSize(), console or Console(quiet=True)
    demo = output / "demo"
    if not (demo / "dpo" / "summary.json").is_file():
        run_demo(demo, seed=seed, overwrite=True, size=size.demo, console=console)
    result = sweep(_config(output, demo, size, seed), console=console)
    write_pictures(result)
    return result


def _config(output: Path, demo: Path, size: BetaSweepSize, seed: int) -> SweepConfig:
    """The demo's DPO settings at several betas."""
    base: dict[str, Any] = {
        "model": str(demo / "sft"),
        "data": str(demo / "pairs.jsonl"),
        "eval_data": str(demo / "pairs-held-out.jsonl"),
        "learning_rate": 3e-4,
        "warmup": 5.0,
        "epochs": size.demo.dpo_epochs,
        "batch_size": 32,
        "log_every": 10,
        "precision": "fp32",
        "report_to": "none",
        "save_every": size.save_every,
        "keep_checkpoints": 100,
        "seed": seed,
    }
    settings = {
        "output": str(output / "sweep"),
        "over": ["beta=" + _listed(size.betas)],
        "reward": f"python:studies.beta_sweep:{true_reward.__name__}",
        "realign": f"beta={size.realigned:g}",
        "strengths": _listed(size.strengths),
    }
    return SweepConfig.of(base, settings, {"samples": size.samples, "max_new_tokens": _MAX_NEW_TOKENS})


def _listed(numbers: Sequence[float]) -> str:
    return ",".join(f"{number:g}" for number in numbers)


def main() -> None:
    """Parse, run, write page and picture."""
    parser = argparse.ArgumentParser(prog="python -m studies.beta_sweep", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("runs/beta-sweep"), help="folder for models and data")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--page", type=Path, help="Markdown page to write; its picture goes into images/ beside it")
    given = parser.parse_args()
    console = Console()
    result = run_beta_sweep(given.output, seed=given.seed, console=console)
    for table in tables_of(result):
        console.print(table)
    for line in summary_lines(result):
        console.print(line, highlight=False, markup=False)
    if given.page is not None:
        picture = given.page.parent / "images" / "beta-sweep.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        draw_frontier(result, picture)
        given.page.write_text(page(result, BetaSweepSize(), picture=f"images/{picture.name}"), encoding="utf-8")
        console.print(f"written: {given.page}, {picture}", highlight=False)


if __name__ == "__main__":
    main()
