"""The page on flipped labels that were found again."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

__all__ = ["Judgement", "page"]


@dataclass(frozen=True, slots=True)
class Judgement:
    """How well margins told flipped labels from others.

    Args:
        epochs: Passes of DPO over the pairs.
        folds: Folds of the cross-fit; 0: the model judged labels that it had learned.
        num_pairs, num_flipped: How many there were.
        area: Under the ROC curve of the ranking; 0.5 is chance, 1 perfect.
        area_by_gap: Number of pairs and area, by quarter of the true difference of rewards, the smallest first.
        gaps: Ends of the quarters. Unit: nats of true reward.
        flip_rate, interval, scale, wrong: As in `LabelNoise`.
        wrong_signs: Least size of the margin, pairs, share of wrong signs.
        found: Pairs looked at, flipped labels expected among them, and how many there were.
    """

    epochs: int
    folds: int
    num_pairs: int
    num_flipped: int
    area: float
    area_by_gap: tuple[tuple[int, float], ...]
    gaps: tuple[float, ...]
    flip_rate: float
    interval: tuple[float, float]
    scale: float
    wrong: float
    wrong_signs: tuple[tuple[float, int, float], ...]
    found: tuple[tuple[int, float, int], ...]


def page(judgements: Sequence[Judgement]) -> str:
    """The results as Markdown, the model's own judgement and that of folds in turns."""
    return (
        "\n".join(
            [*_INTRODUCTION, *_ranking(judgements), *_by_gap(judgements), *_rates(judgements), *_curves(judgements)]
        )
        + "\n"
    )


_INTRODUCTION = (
    "# Labels that a model contradicts",
    "",
    "Made by `python -m studies.label_noise --output runs/label-noise --page docs/label-noise.md`.",
    "",
    "`preftune check DATA --model RUN` scores every pair by the margin that the run gives it, beta * (logratio of the",
    "chosen - logratio of the rejected completion), against the model that the run began from. `--folds K` trains K",
    "runs by the settings of RUN, each without one part of the prompts, and lets each judge the part that it has not",
    "seen. The runs stay in `RUN/folds`: an interrupted call goes on, a second one trains nothing.",
    "",
    "A label is taken to be drawn by Bradley and Terry's model and then flipped with probability e:",
    "",
    "    p(label | margin)   = (1 - e) * sigmoid(scale * margin) + e * sigmoid(-scale * margin)",
    "    p(flipped | margin) = sigmoid(log(e / (1 - e)) - scale * margin)",
    "",
    "e and the scale have the greatest likelihood together; the interval is that of the likelihood ratio, 95 %. The",
    "scale is 1 for margins that are log-odds already. It does not change the ranking: the lowest margin comes first.",
    "",
    "The evidence is the demo's world, where the true reward is known: pairs of samples of the demo's model after SFT,",
    "labelled by the true reward, 5 % of the labels flipped; DPO with the demo's settings on these pairs.",
)


def _ranking(judgements: Sequence[Judgement]) -> Iterator[str]:
    yield from ("", "## Does the ranking find flipped labels?", "")
    yield "Area under the ROC curve: the probability that a flipped label is ranked before one that is not; chance: 0.5"
    yield from ("", "| pairs | flipped | epochs | judged by | area | flipped among the first that are as many |")
    yield "|---|---|---|---|---|---|"
    for found in judgements:
        hits = next(hits for count, _, hits in found.found if count == found.num_flipped)
        yield (
            f"| {found.num_pairs:,} | {found.num_flipped} | {found.epochs} | {_judge(found)} | {found.area:.3f} | "
            f"{hits} of {found.num_flipped} |"
        )


def _by_gap(judgements: Sequence[Judgement]) -> Iterator[str]:
    yield from ("", "## By the true difference of the two completions", "")
    yield "Quarters of the pairs by how much better the better completion is, in nats of true reward; area in each."
    yield from ("", "| pairs | judged by | least | second | third | greatest |", "|---|---|---|---|---|---|")
    for found in judgements:
        cells = " | ".join(
            f"{area:.3f} (to {gap:.1f})" for (_, area), gap in zip(found.area_by_gap, found.gaps[1:], strict=True)
        )
        yield f"| {found.num_pairs:,} | {_judge(found)} | {cells} |"


def _rates(judgements: Sequence[Judgement]) -> Iterator[str]:
    yield from ("", "## Is the estimated flip rate right?", "")
    yield from ("| pairs | judged by | estimate | 95 % | scale | wrong signs |", "|---|---|---|---|---|---|")
    for found in judgements:
        low, high = found.interval
        yield (
            f"| {found.num_pairs:,} | {_judge(found)} | {found.flip_rate:.1%} | {low:.1%} to {high:.1%} | "
            f"{found.scale:.2f} | {found.wrong:.1%} |"
        )


def _curves(judgements: Sequence[Judgement]) -> Iterator[str]:
    yield from ("", "## Curves", "")
    yield "Share of wrong signs among the pairs whose margin is at least so large, and flips found by looking."
    for found in judgements:
        yield from ("", f"{found.num_pairs:,} pairs, judged by {_judge(found)}:", "")
        yield from ("| least size of the margin | pairs | wrong signs |", "|---|---|---|")
        for threshold, count, wrong in found.wrong_signs:
            yield f"| {threshold:.2f} | {count:,} | {wrong:.1%} |"
        yield from ("", "| pairs looked at | flipped, expected | flipped, found |", "|---|---|---|")
        for count, expected, hits in found.found:
            yield f"| {count:,} | {expected:.0f} | {hits} |"


def _judge(found: Judgement) -> str:
    return f"{found.folds} folds" if found.folds else "the run's model"
