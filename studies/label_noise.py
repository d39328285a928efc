"""Flipped labels in the demo's world, found again by a model's margins: `python -m studies.label_noise`."""

import argparse
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from sklearn.metrics import roc_auc_score
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from preftune.demo.demo import DemoSize, is_usable, run_demo
from preftune.demo.reviews.world import ReviewWorld
from preftune.evaluation.check_labels import check_labels
from preftune.evaluation.label_check import LabelCheck
from preftune.model.generation.completions import generate
from preftune.runs.run import train
from preftune.settings import TrainConfig
from studies.label_noise_page import Judgement, page

__all__ = ["SIZES", "NoiseSize", "area_under_curve", "judgement_of", "run_label_noise"]

_DEMO = DemoSize(num_pair_prompts=64, num_test_prompts=32, dpo_epochs=1)
"""Only the model after SFT is used."""

_MAX_NEW_TOKENS = 80
_BETA = 0.1


@dataclass(frozen=True, slots=True)
class NoiseSize:
    """How much is labelled, and how wrongly.

    Args:
        num_prompts: Prompts with two samples each.
        flip_rate: Share of the pairs whose label is flipped.
        folds: Of the cross-fit.
        epochs: Passes of DPO over the noisy pairs.
    """

    num_prompts: int
    epochs: int
    flip_rate: float = 0.05
    folds: int = 4


SIZES = (NoiseSize(1_600, epochs=2), NoiseSize(6_400, epochs=1))
"""As many pairs as the demo has, and four times as many for twice as many steps."""


def run_label_noise(
    output: Path, *, sizes: Sequence[NoiseSize] = SIZES, seed: int = 0, console: Console | None = None
) -> list[Judgement]:
    """Flip some labels, tune a model on them, and look for them by its margins.

    Args:
        output: Folder; what an earlier call made in it is used again.
        sizes: How much to do, one after the other.
        seed: Of everything.
        console: Where progress goes; default: nowhere.
    Returns:
        For each size the judgement of the run's own model, then that of folds.
    """
    found = []
    for size in sizes:
        study = _Study(output, seed, size, console or Console(quiet=True), ReviewWorld())
        study.prepare()
        found += [study.judge(0), study.judge(size.folds)]
    return found


@dataclass(frozen=True, slots=True)
class _Study:
    output: Path
    seed: int
    size: NoiseSize
    console: Console
    world: ReviewWorld

    def prepare(self) -> None:
        """The SFT model of the demo, noisy pairs, and a model tuned on them."""
        if not (self.output / "demo" / "sft" / "summary.json").is_file():
            run_demo(self.output / "demo", seed=self.seed, overwrite=True, size=_DEMO, console=self.console)
        if not self._truth.is_file():
            self._write_pairs()
        if not (self._run / "summary.json").is_file():
            self._tune()

    def judge(self, folds: int) -> Judgement:
        """Find the flipped labels by the margins of the run, or of its folds."""
        found = check_labels(self._run, str(self._pairs), folds=folds, with_texts=False, console=self.console)
        return judgement_of(found, self._read_truth(), epochs=self.size.epochs)

    @property
    def _folder(self) -> Path:
        return self.output / f"prompts-{self.size.num_prompts}"

    @property
    def _pairs(self) -> Path:
        return self._folder / "pairs.jsonl"

    @property
    def _truth(self) -> Path:
        return self._folder / "truth.jsonl"

    @property
    def _run(self) -> Path:
        return self._folder / "dpo"

    def _write_pairs(self) -> None:
        """Pairs with labels of which some are flipped, and beside them which ones."""
        sft = self.output / "demo" / "sft"
        prompts = self.world.prompts(self.size.num_prompts, self.seed + 5)
        samples = generate(
            AutoModelForCausalLM.from_pretrained(sft),
            AutoTokenizer.from_pretrained(sft),
            prompts,
            max_new_tokens=_MAX_NEW_TOKENS,
            num_samples=2,
            batch_tokens=64_000,
            seed=self.seed + 5,
            show_progress=not self.console.quiet,
        )
        texts = [[drawn.text for drawn in drawn_pair if is_usable(drawn)] for drawn_pair in samples]
        rows = list(self._labelled(prompts, texts))
        self._folder.mkdir(parents=True, exist_ok=True)
        flipped = set(random.Random(self.seed).sample(range(len(rows)), round(self.size.flip_rate * len(rows))))
        _write(self._pairs, [_flipped(row) if index in flipped else row for index, row in enumerate(rows)])
        gaps = [self.world.reward(row["chosen"]) - self.world.reward(row["rejected"]) for row in rows]
        _write(self._truth, [{"flipped": index in flipped, "gap": gap} for index, gap in enumerate(gaps)])

    def _labelled(self, prompts: Sequence[str], texts: Sequence[Sequence[str]]) -> Iterator[dict[str, Any]]:
        """Rows whose label is right."""
        for prompt, pair in zip(prompts, texts, strict=True):
            rewards = [self.world.reward(text) for text in pair]
            if len(pair) == 2 and rewards[0] != rewards[1]:
                better = int(rewards[1] > rewards[0])
                yield {"prompt": prompt, "chosen": pair[better], "rejected": pair[1 - better]}

    def _tune(self) -> None:
        """DPO as in the demo."""
        config = TrainConfig.of(
            method="dpo",
            model=str(self.output / "demo" / "sft"),
            data=str(self._pairs),
            output=str(self._run),
            overwrite=True,
            beta=_BETA,
            learning_rate=3e-4,
            warmup=5.0,
            batch_size=32,
            epochs=self.size.epochs,
            log_every=10,
            precision="fp32",
            report_to="none",
            seed=self.seed,
        )
        self.console.print(train(config, console=self.console).table())

    def _read_truth(self) -> tuple[Tensor, Tensor]:
        rows = [json.loads(line) for line in self._truth.read_text(encoding="utf-8").splitlines()]
        return torch.tensor([row["flipped"] for row in rows]), torch.tensor([row["gap"] for row in rows])


def judgement_of(found: LabelCheck, truth: tuple[Tensor, Tensor], *, epochs: int) -> Judgement:
    """How well the margins tell flipped labels from others.

    Args:
        found: Of all pairs.
        truth: Whether each label is flipped, and by how much the better completion is better. Shape of both: (pair,).
        epochs: Of the run.
    """
    (flipped, gap), noise = truth, found.noise
    bounds = gap.quantile(torch.tensor([0.25, 0.5, 0.75])).tolist()
    quarter = torch.bucketize(gap, torch.tensor(bounds))
    num_flipped = int(flipped.sum())
    looked_at = sorted({num_flipped, *(round(share * len(flipped)) for share in (0.02, 0.05, 0.1, 0.2))})
    return Judgement(
        epochs=epochs,
        folds=found.folds,
        num_pairs=len(flipped),
        num_flipped=num_flipped,
        area=area_under_curve(noise.margins, flipped),
        area_by_gap=tuple(
            (int((quarter == part).sum()), area_under_curve(noise.margins[quarter == part], flipped[quarter == part]))
            for part in range(4)
        ),
        gaps=(gap.min().item(), *bounds, gap.max().item()),
        flip_rate=noise.flip_rate,
        interval=noise.interval,
        scale=noise.scale,
        wrong=noise.wrong,
        wrong_signs=tuple((point.threshold, point.num_pairs, point.wrong) for point in noise.wrong_signs(10)),
        found=tuple((n, noise.expected_found(n), int(flipped[noise.ranking[:n]].sum())) for n in looked_at),
    )


def area_under_curve(margins: Tensor, flipped: Tensor) -> float:
    """Probability that a flipped label has a lower margin than one that is not.

    >>> area_under_curve(torch.tensor([-1.0, 2.0, 0.5, 3.0]), torch.tensor([True, True, False, False]))
    0.75
    """
    return float(roc_auc_score(flipped.numpy(), -margins.numpy()))


def _flipped(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "chosen": row["rejected"], "rejected": row["chosen"]}


def _write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def main() -> None:
    """Parse, run, write the page."""
    parser = argparse.ArgumentParser(prog="python -m studies.label_noise", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("runs/label-noise"), help="folder for models and data")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--page", type=Path, help="Markdown page to write")
    given = parser.parse_args()
    console = Console()
    judgements = run_label_noise(given.output, seed=given.seed, console=console)
    (given.output / "results.json").write_text(
        json.dumps([asdict(judgement) for judgement in judgements], indent=2) + "\n", encoding="utf-8"
    )
    text = page(judgements)
    if given.page is None:
        console.print(text, markup=False, highlight=False)
    else:
        given.page.write_text(text, encoding="utf-8")
        console.print(f"written: {given.page}", highlight=False)


if __name__ == "__main__":
    main()
