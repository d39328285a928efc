"""Detection of flipped labels in the demo's world by a model's margins: `python -m studies.label_noise`."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from sklearn.metrics import roc_auc_score
from torch import Tensor

from preftune.demo.demo import DemoSize, is_usable
from preftune.demo.reviews.world import ReviewWorld
from preftune.evaluation.label_check import LabelCheck, check_labels
from preftune.files.json_files import read_json_lines, write_json, write_json_lines
from preftune.files.number_text import markdown_table
from preftune.runs.run import train
from preftune.settings import TrainConfig
from studies.review_study import TUNING, demo_folder, load, sampled, study_parser

__all__ = ["SIZES", "Judgement", "NoiseSize", "area_under_curve", "judgement_of", "run_label_noise", "tables"]

_DEMO = DemoSize(num_pair_prompts=64, num_test_prompts=32, dpo_epochs=1)
"""Only the model after SFT is used."""

_BETA = 0.1


@dataclass(frozen=True, slots=True)
class NoiseSize:
    """Numbers of labelled pairs, and the share of flipped labels.

    Args:
        num_prompts: Prompts with two samples each.
        flip_rate: Share of the pairs whose label is flipped.
        epochs: Passes of DPO over the noisy pairs.
    """

    num_prompts: int
    epochs: int
    flip_rate: float = 0.05


SIZES = (NoiseSize(1_600, epochs=2), NoiseSize(6_400, epochs=1))
"""As many pairs as the demo has, and four times as many for twice as many steps."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """Separation of flipped labels from correct ones by a model's margins.

    Args:
        epochs: Passes of DPO over the pairs.
        num_pairs, num_flipped: Numbers of pairs and of flipped labels.
        area: Area under the ROC curve of the ranking; 0.5 is chance, 1 perfect.
        area_by_gap: Number of pairs and area, by quarter of the true difference of rewards, the smallest first.
        gaps: Ends of the quarters. Unit: nats of true reward.
        flip_rate, interval, scale, wrong: As in `LabelNoise`.
        found: Number of pairs inspected, flips expected among them, and flips found.
    """

    epochs: int
    num_pairs: int
    num_flipped: int
    area: float
    area_by_gap: tuple[tuple[int, float], ...]
    gaps: tuple[float, ...]
    flip_rate: float
    interval: tuple[float, float]
    scale: float
    wrong: float
    found: tuple[tuple[int, float, int], ...]


def run_label_noise(
    output: Path, *, sizes: Sequence[NoiseSize] = SIZES, seed: int = 0, console: Console | None = None
) -> list[Judgement]:
    """Flip some labels, train a model on the pairs, and rank the pairs by its margins.

    Args:
        output: Folder of all files. Files of an earlier call are reused.
        sizes: Sizes to run, in this order.
        seed: Seed of all random choices.
        console: Where progress goes; default: nowhere.
    Returns:
        One judgement per size.
    """
    found = []
    for size in sizes:
        study = _Study(output, seed, size, console or Console(quiet=True), ReviewWorld())
        study.prepare()
        found.append(study.judge())
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
        demo_folder(self.output, seed=self.seed, console=self.console, size=_DEMO)
        if not self._truth.is_file():
            self._write_pairs()
        if not (self._run / "summary.json").is_file():
            self._tune()

    def judge(self) -> Judgement:
        """Rank the pairs by the margins of the run, and compare with the truth."""
        found = check_labels(self._run, str(self._pairs), with_texts=False, console=self.console)
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
        """Write pairs of which some are flipped, and a file that says which ones."""
        sft = self.output / "demo" / "sft"
        prompts = self.world.prompts(self.size.num_prompts, self.seed + 5)
        samples = sampled(load(sft), sft, prompts, num_samples=2, seed=self.seed + 5, console=self.console)
        texts = [[drawn.text for drawn in drawn_pair if is_usable(drawn)] for drawn_pair in samples]
        rows = list(self._labelled(prompts, texts))
        flipped = set(random.Random(self.seed).sample(range(len(rows)), round(self.size.flip_rate * len(rows))))
        write_json_lines(self._pairs, [_flipped(row) if index in flipped else row for index, row in enumerate(rows)])
        gaps = [self.world.reward(row["chosen"]) - self.world.reward(row["rejected"]) for row in rows]
        write_json_lines(self._truth, [{"flipped": index in flipped, "gap": gap} for index, gap in enumerate(gaps)])

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
            warmup=5.0,
            epochs=self.size.epochs,
            log_every=10,
            seed=self.seed,
            **TUNING,
        )
        self.console.print(train(config, console=self.console).table())

    def _read_truth(self) -> tuple[Tensor, Tensor]:
        rows = read_json_lines(self._truth)
        return torch.tensor([row["flipped"] for row in rows]), torch.tensor([row["gap"] for row in rows])


def judgement_of(found: LabelCheck, truth: tuple[Tensor, Tensor], *, epochs: int) -> Judgement:
    """Area under the ROC curve of the margins as a detector of flipped labels.

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
        found=tuple((n, noise.expected_found(n), int(flipped[noise.ranking[:n]].sum())) for n in looked_at),
    )


def tables(judgements: Sequence[Judgement]) -> str:
    """The tables of docs/label-noise.md."""
    return "\n\n".join([_ranking(judgements), _by_gap(judgements), _rates(judgements), _found(judgements)])


def _ranking(judgements: Sequence[Judgement]) -> str:
    hits = [next(hits for count, _, hits in found.found if count == found.num_flipped) for found in judgements]
    rows = [
        [
            f"{found.num_pairs:,}",
            f"{found.num_flipped}",
            f"{found.epochs}",
            f"{found.area:.3f}",
            f"{hit} of {found.num_flipped}",
        ]
        for found, hit in zip(judgements, hits, strict=True)
    ]
    return markdown_table(["pairs", "flipped", "epochs", "area", "flipped among the first n"], rows)


def _by_gap(judgements: Sequence[Judgement]) -> str:
    rows = [
        [
            f"{found.num_pairs:,}",
            *(f"{area:.3f} (to {gap:.1f})" for (_, area), gap in zip(found.area_by_gap, found.gaps[1:], strict=True)),
        ]
        for found in judgements
    ]
    return markdown_table(["pairs", "smallest", "second", "third", "largest"], rows)


def _rates(judgements: Sequence[Judgement]) -> str:
    rows = []
    for found in judgements:
        low, high = found.interval
        shares = [f"{found.flip_rate:.1%}", f"{low:.1%} to {high:.1%}", f"{found.scale:.2f}", f"{found.wrong:.1%}"]
        rows.append([f"{found.num_pairs:,}", *shares])
    return markdown_table(["pairs", "estimate", "95 % interval", "scale", "negative margins"], rows)


def _found(judgements: Sequence[Judgement]) -> str:
    rows = [
        [f"{judged.num_pairs:,}", f"{count:,}", f"{expected:.0f}", f"{hits}"]
        for judged in judgements
        for count, expected, hits in judged.found
    ]
    return markdown_table(["pairs", "inspected", "flips expected", "flips found"], rows)


def area_under_curve(margins: Tensor, flipped: Tensor) -> float:
    """Probability that a flipped label has a lower margin than one that is not.

    >>> area_under_curve(torch.tensor([-1.0, 2.0, 0.5, 3.0]), torch.tensor([True, True, False, False]))
    0.75
    """
    return float(roc_auc_score(flipped.numpy(), -margins.numpy()))


def _flipped(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "chosen": row["rejected"], "rejected": row["chosen"]}


def main() -> None:
    """Parse, run, print the tables."""
    given = study_parser("label_noise", __doc__, output="runs/label-noise").parse_args()
    console = Console()
    judgements = run_label_noise(given.output, seed=given.seed, console=console)
    write_json(given.output / "results.json", judgements)
    console.print(tables(judgements), markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
