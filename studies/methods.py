"""Every method of the table on the demo's world, from the same samples: `python -m studies.methods`."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from transformers import PreTrainedModel

from preftune.demo.demo import Writer, is_usable
from preftune.demo.reviews.world import ReviewWorld
from preftune.files.json_files import read_record, write_json, write_json_lines
from preftune.files.number_text import markdown_table
from preftune.losses import LOSSES, Method
from preftune.metrics.intervals import Estimate
from preftune.model.forward.sequences import SequencesForward
from preftune.model.generation.completions import Generation
from preftune.model.generation.sample_values import sampled_kl
from preftune.model.load.load_model import frozen
from preftune.model.reference.logps import Runner
from preftune.model.reference.reference import FrozenCopy
from preftune.runs.result import RunResult
from preftune.runs.run import train
from preftune.settings import TrainConfig
from studies.review_study import TUNING, demo_folder, load, sampled, study_parser

__all__ = ["MethodResult", "Sizes", "run_methods"]

_FILES = {"pairs": "lists.jsonl", "lists": "lists.jsonl", "thumbs": "thumbs.jsonl", "demonstrations": "best.jsonl"}


@dataclass(frozen=True, slots=True)
class Sizes:
    """Amounts of data for each method.

    Args:
        num_prompts: Prompts with four samples of the SFT model each, scored by the true reward.
        num_test_prompts: Prompts kept from training, for held-out metrics and for the samples.
        epochs: Passes over the data.
    """

    num_prompts: int = 640
    num_test_prompts: int = 128
    epochs: float = 2.0


@dataclass(frozen=True, slots=True)
class MethodResult:
    """Result of one method.

    Args:
        name: Of the method.
        feedback: What it learns from.
        loss_first, loss_last: Held-out loss after the first tenth of the steps, and at the end.
        accuracy: Held-out reward accuracy, for methods with an implicit reward of pairs.
        writer: How the tuned model writes.
        kl: KL to the SFT model, by sampling. Unit: nats.
    """

    name: str
    feedback: str
    loss_first: float
    loss_last: float
    accuracy: float | None
    writer: Writer
    kl: Estimate


def run_methods(
    output: Path,
    *,
    names: Sequence[str] = (),
    seed: int = 0,
    sizes: Sizes | None = None,
    console: Console | None = None,
) -> list[MethodResult]:
    """Train every method for a few steps from the same SFT model and the same samples.

    Args:
        output: Folder; an SFT model, samples and finished methods that it holds from an earlier call are used again.
        names: Methods; default: all of the table.
        seed: Of everything.
        sizes: How much to do.
        console: Where progress goes; default: nowhere.
    """
    study = _Study(output, seed, sizes or Sizes(), console or Console(quiet=True), ReviewWorld())
    study.prepare()
    return [study.result_of(name) for name in names or LOSSES]


@dataclass(frozen=True, slots=True)
class _Study:
    output: Path
    seed: int
    sizes: Sizes
    console: Console
    world: ReviewWorld

    def prepare(self) -> None:
        """The SFT model of the demo, and four scored samples of it for each prompt."""
        demo_folder(self.output, seed=self.seed, console=self.console)
        for folder, count, held_out in (
            ("train", self.sizes.num_prompts, False),
            ("held-out", self.sizes.num_test_prompts, True),
        ):
            if not (self.output / folder / "lists.jsonl").is_file():
                self._write_samples(self.output / folder, count, held_out=held_out)

    def _write_samples(self, folder: Path, count: int, *, held_out: bool) -> None:
        prompts = self.world.prompts(count, self.seed + 3, held_out=held_out)
        groups = self._sample(load(self.output / "demo" / "sft"), prompts, num_samples=4)
        rows = list(self._scored(prompts, groups))
        write_json_lines(folder / "thumbs.jsonl", _thumbs(rows, random.Random(self.seed)))
        write_json_lines(folder / "best.jsonl", ({"prompt": row["prompt"], "completion": _best(row)} for row in rows))
        write_json_lines(folder / "lists.jsonl", rows)

    def _scored(self, prompts: Sequence[str], groups: Sequence[Sequence[Generation]]) -> Iterator[dict[str, Any]]:
        for prompt, generations in zip(prompts, groups, strict=True):
            texts = list(dict.fromkeys(drawn.text for drawn in generations if is_usable(drawn)))
            scores = [self.world.reward(text) for text in texts]
            if len(set(scores)) > 1:
                yield {"prompt": prompt, "completions": texts, "scores": scores}

    def result_of(self, name: str) -> MethodResult:
        """Train one method, unless its result is there already."""
        file = self.output / "methods" / name / "result.json"
        known = read_record(MethodResult, file, made_by="this study")
        if known is not None:
            return known
        self.console.rule(name, align="left")
        result = self._measured(name, self._train(name))
        write_json(file, result)
        return result

    def _train(self, name: str) -> RunResult:
        feedback = Method.named(name).feedback
        further: dict[str, Any] = {"pairing": "best_vs_worst"} if feedback == "pairs" else {}
        config = TrainConfig.of(
            method=name,
            model=str(self.output / "demo" / "sft"),
            data=str(self.output / "train" / _FILES[feedback]),
            eval_data=str(self.output / "held-out" / _FILES[feedback]),
            output=str(self.output / "methods" / name),
            overwrite=True,
            epochs=self.sizes.epochs,
            warmup=0.1,
            eval_every=4,
            seed=self.seed,
            **TUNING,
            **further,
        )
        return train(config, console=self.console)

    def _measured(self, name: str, run: RunResult) -> MethodResult:
        sft, tuned = load(self.output / "demo" / "sft"), load(Path(run.folder))
        prompts = self.world.prompts(self.sizes.num_test_prompts, self.seed + 4, held_out=True)
        samples = self._sample(tuned, prompts)
        accuracy = run.held_out.get("rewards/accuracies")
        return MethodResult(
            name=name,
            feedback=Method.named(name).feedback,
            loss_first=run.held_out["loss"].first,
            loss_last=run.held_out["loss"].last,
            accuracy=None if accuracy is None else accuracy.last,
            writer=Writer.of([drawn[0].text for drawn in samples], self.world.reward),
            kl=sampled_kl(tuned, FrozenCopy(frozen(sft)), samples, Runner(SequencesForward())),
        )

    def _sample(self, model: PreTrainedModel, prompts: Sequence[str], num_samples: int = 1) -> list[list[Generation]]:
        sft = self.output / "demo" / "sft"
        return sampled(model, sft, prompts, num_samples=num_samples, seed=self.seed, console=self.console)


def _thumbs(rows: Sequence[dict[str, Any]], rng: random.Random) -> Iterator[dict[str, Any]]:
    """Two completions of each prompt, each alone: up if its true reward is above 0."""
    for row in rows:
        for index in rng.sample(range(len(row["scores"])), 2):
            yield {
                "prompt": row["prompt"],
                "completion": row["completions"][index],
                "label": row["scores"][index] > 0,
            }


def _best(row: dict[str, Any]) -> str:
    text: str = row["completions"][max(range(len(row["scores"])), key=row["scores"].__getitem__)]
    return text


def _page(results: Sequence[MethodResult], sizes: Sizes) -> str:
    lines = [
        "# All methods on the demo's world",
        "",
        "Made by `python -m studies.methods --output runs/methods --page docs/methods.md`.",
        "",
        f"Each method trains the demo's SFT model on the same {sizes.num_prompts} prompts with four of its own",
        "samples, scored by the true reward: best against worst for pairs, all four for lists, two alone with thumbs",
        "(up where the reward is above 0), the best one for demonstrations. "
        f"{sizes.epochs:g} epochs of 32, learning rate {TUNING['learning_rate']:g},",
        "every other option at its default, even if unsuitable for this small world: the table shows that every",
        "method works, not which is best. Columns: held-out loss early and at the end; share of held-out pairs that",
        f"the implicit reward classifies correctly; from {sizes.num_test_prompts} samples on held-out prompts:",
        "share with a reward above 0, mean true reward in nats, KL to the SFT model in nats with its standard error,",
        "and mean words.",
        "",
        "Some unusual rows are correct. With the beta of 0.3 and the penalty of 50 of its paper, `dpop` adds 15 per",
        "nat that a chosen answer loses, so at this learning rate its final loss exceeds the initial one, in",
        "training too. The published `discopop` loss rises with the margin around 0. `apo_down` also lowers chosen",
        "answers: it is for data whose chosen answers are worse than the model's own. `kto` equals",
        "`apo_zero_unpaired` if mismatched answers only become less likely.",
        "",
        markdown_table(_COLUMNS, map(_row, results)),
    ]
    return "\n".join(lines) + "\n"


_COLUMNS = ("method", "learns from", "loss, early", "loss, end", "accuracy", "positive", "reward", "KL", "words")


def _row(result: MethodResult) -> list[str]:
    accuracy = "" if result.accuracy is None else f"{result.accuracy:.1%}"
    return [
        f"`{result.name}`",
        result.feedback,
        f"{result.loss_first:.4f}",
        f"{result.loss_last:.4f}",
        accuracy,
        f"{result.writer.positive.mean:.1%}",
        f"{result.writer.reward.mean:+.2f}",
        f"{result.kl.mean:.2f} ± {result.kl.standard_error:.2f}",
        f"{result.writer.num_words.mean:.0f}",
    ]


def main() -> None:
    """Parse, run, write the page."""
    parser = study_parser("methods", __doc__, output="runs/methods")
    parser.add_argument("--only", nargs="+", default=[], choices=list(LOSSES), help="these methods alone")
    parser.add_argument("--page", type=Path, help="Markdown page to write")
    given = parser.parse_args()
    console = Console()
    results = run_methods(given.output, names=given.only, seed=given.seed, console=console)
    page = _page(results, Sizes())
    if given.page is None:
        console.print(page, markup=False, highlight=False)
    else:
        given.page.write_text(page, encoding="utf-8")
        console.print(f"written: {given.page}", highlight=False)


if __name__ == "__main__":
    main()
