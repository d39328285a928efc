"""Five betas in the demo's world, and one realigned run: `python -m studies.beta_sweep`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from preftune.demo.demo import DemoSize
from preftune.demo.reviews.reward import SentimentReward
from preftune.files.number_text import markdown_table
from preftune.metrics.intervals import Interval
from preftune.settings.sweep_config import SweepConfig
from preftune.sweep.picture import draw_frontier, write_pictures
from preftune.sweep.recommendation import interval_text
from preftune.sweep.result import ModelRow, PointRow, Realigned, SweepResult
from preftune.sweep.run import sweep
from preftune.sweep.table import summary_lines, tables_of
from studies.review_study import MAX_NEW_TOKENS, TUNING, demo_folder, study_parser

__all__ = ["BetaSweepSize", "page", "run_beta_sweep", "true_reward"]

_reward = SentimentReward()
_FORM = "{:z.2f}".format


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
    demo = demo_folder(output, seed=seed, console=console, size=size.demo, needs="dpo")
    result = sweep(_config(output, demo, size, seed), console=console)
    write_pictures(result)
    return result


def _config(output: Path, demo: Path, size: BetaSweepSize, seed: int) -> SweepConfig:
    """The demo's DPO settings at several betas."""
    base: dict[str, Any] = {
        "model": str(demo / "sft"),
        "data": str(demo / "pairs.jsonl"),
        "eval_data": str(demo / "pairs-held-out.jsonl"),
        "warmup": 5.0,
        "epochs": size.demo.dpo_epochs,
        "log_every": 10,
        "save_every": size.save_every,
        "keep_checkpoints": 100,
        "seed": seed,
        **TUNING,
    }
    settings = {
        "output": str(output / "sweep"),
        "over": ["beta=" + _listed(size.betas)],
        "reward": f"python:studies.beta_sweep:{true_reward.__name__}",
        "realign": f"beta={size.realigned:g}",
        "strengths": _listed(size.strengths),
    }
    return SweepConfig.of(base, settings, {"samples": size.samples, "max_new_tokens": MAX_NEW_TOKENS})


def _listed(numbers: Sequence[float]) -> str:
    return ",".join(f"{number:g}" for number in numbers)


_INTRODUCTION = """\
# Five betas, and one realigned run

Made by `python -m studies.beta_sweep --output runs/beta-sweep --page docs/beta-sweep.md`.

The world is the demo's: a small Llama writes film reviews, and a known reward labels pairs of its own samples.
`preftune sweep` runs DPO with the demo's settings at five betas, and evaluates each run and three checkpoints of each
on held-out prompts. The value is the true reward of their samples, in nats. KL is to the SFT model, from the same
samples. Intervals are 95 %, by prompt; there is one training seed."""


def page(result: SweepResult, size: BetaSweepSize, *, picture: str) -> str:
    """The result as Markdown.

    Args:
        result: Result of the sweep.
        size: Size of the study.
        picture: Path of the frontier's picture, relative to the page.
    """
    blocks = [
        _INTRODUCTION,
        f"![True reward over KL, for all runs, checkpoints and strengths]({picture})",
        "## The runs",
        _runs(result.points),
        f"Reference log-probs computed: {_counts(result.points)}. The total of {result.num_computed:,} covers "
        f"{len(result.points)} runs and {sum(len(row.models) for row in result.points)} evaluations.",
        *_recommendation(result),
    ]
    if result.realigned is not None:
        blocks += _realigned(result, result.realigned, size.realigned)
    return "\n\n".join(blocks) + "\n"


def _runs(points: Sequence[PointRow]) -> str:
    rows = []
    for row in points:
        for model in row.models:
            is_final = model is row.models[-1]
            accuracy = "" if model.accuracy is None else _percent(model.accuracy)
            rows.append(
                [
                    row.setup if is_final else f"{row.setup}, checkpoint",
                    str(model.step),
                    _text(model.value),
                    _text(model.kl),
                    accuracy,
                    "yes" if model.on_frontier else "",
                    ("; ".join(title for _, title in row.record.health) or "no finding") if is_final else "",
                ]
            )
    header = ["run", "steps", "true reward", "KL", "held-out accuracy", "on the frontier", "health"]
    return markdown_table(header, rows)


def _counts(points: Sequence[PointRow]) -> str:
    return ", ".join(f"{row.setup} {row.record.num_computed:,}" for row in points)


def _recommendation(result: SweepResult) -> Iterator[str]:
    found = result.recommendation
    if found is None:
        return
    yield f"**{found.headline}** " + " ".join(found.reasons)
    if found.warnings:
        yield "\n".join(f"- {warning}" for warning in found.warnings)


def _realigned(result: SweepResult, found: Realigned, beta: float) -> Iterator[str]:
    yield "## One realigned run"
    yield (
        f"The run with beta = {beta:g}, mixed with its reference at decoding time (`--strength`), beside the run "
        "trained with beta / strength if there is one."
    )
    trained = {row.setup: row.models[-1] for row in result.points if row.models}
    rows = []
    for model in found.models:
        other = _nearest(trained, beta / model.strength) if model.strength else None
        meant = f"{beta / model.strength:.3g}" if model.strength else "infinite"
        cells = ["", ""] if other is None else [_text(other.value), _text(other.kl)]
        rows.append([f"{model.strength:g}", _text(model.value), _text(model.kl), meant, *cells])
    header = ["strength", "true reward", "KL", "beta / strength", "trained: true reward", "trained: KL"]
    yield markdown_table(header, rows)
    yield (
        "At the optimum of the loss, the mix approximates training with beta / strength token by token. These runs "
        "end before the optimum, at a smaller KL, so compare the curves at equal KL, not row by row."
    )


def _nearest(trained: dict[str, ModelRow], beta: float) -> ModelRow | None:
    """The run with this beta, up to the rounding of strengths."""
    for setup, model in trained.items():
        if abs(float(setup.partition("=")[2]) / beta - 1) < 0.01:
            return model
    return None


def _text(found: Interval) -> str:
    return interval_text(found, _FORM)


def _percent(found: Interval) -> str:
    return interval_text(found, "{:.1%}".format)


def main() -> None:
    """Parse, run, write page and picture."""
    parser = study_parser("beta_sweep", __doc__, output="runs/beta-sweep")
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
