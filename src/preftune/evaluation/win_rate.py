"""How often a judge prefers the model's completions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from preftune.judges.judge import JudgedComparison
from preftune.metrics.intervals import (
    Bootstrap,
    FloatArray,
    IntArray,
    Interval,
    Statistic,
    ratio_of,
    sums_by_prompt,
)
from preftune.metrics.logistic import fit_logistic, sigmoid

__all__ = ["WinRate", "rate_wins"]


@dataclass(frozen=True, slots=True)
class WinRate:
    """What a judge says of a model against an opponent.

    Args:
        judge, against: Who judges, and what the model is compared with.
        temperature: Of the completions, and of the opponent's where these are drawn.
        num_comparisons: Comparisons with a verdict in every order asked; all that follows is of these.
        num_without_verdict: Comparisons that have none: an answer that does not say which is better, or no answer.
        rate: Mean of our points over comparisons: 1 for a win, half for a tie, 0 for a loss, mean of both orders.
        wins, ties, losses: Shares of comparisons with more than half a point, half a point, and less.
        length_controlled: The rate if both wrote equally long texts.
        length_difference: Characters that the model writes more than its opponent.
        first_share: Of verdicts that are no ties, the share that prefers the completion shown first: 0.5 without
            position bias. None where the order makes no difference to the judge, or there are ties only.
        disagreement: Share of comparisons in which both orders have the same place win, so that they contradict each
            other. None as above.
        our_score, their_score: Mean score, for judges that score each completion by itself.
    """

    judge: str
    against: str
    temperature: float
    num_comparisons: int
    num_without_verdict: int
    rate: Interval
    wins: float
    ties: float
    losses: float
    length_controlled: Interval
    length_difference: Interval
    first_share: Interval | None
    disagreement: Interval | None
    our_score: Interval | None
    their_score: Interval | None


def rate_wins(
    judged: Sequence[JudgedComparison],
    *,
    judge: str,
    against: str,
    temperature: float,
    bootstrap: Bootstrap | None = None,
) -> WinRate | None:
    """The win rate with its intervals, or None where no comparison has a verdict.

    Args:
        judged: Comparisons with their verdicts.
        judge, against, temperature: As in `WinRate`.
        bootstrap: How intervals are made; default: 1000 resamples, 95 %.
    """
    complete = [item for item in judged if item.is_complete]
    if not complete:
        return None
    rates = _Rates(complete, bootstrap or Bootstrap())
    points = np.array([np.mean(item.points) for item in complete])
    differences = np.array([float(item.comparison.length_difference) for item in complete])
    our_score, their_score = rates.scores()
    return WinRate(
        judge=judge,
        against=against,
        temperature=temperature,
        num_comparisons=len(complete),
        num_without_verdict=len(judged) - len(complete),
        rate=rates.share(points),
        wins=float(np.mean(points > 0.5)),
        ties=float(np.mean(points == 0.5)),
        losses=float(np.mean(points < 0.5)),
        length_controlled=rates.interval(_length_controlled(points, differences, rates.prompts)),
        length_difference=rates.mean(differences),
        first_share=rates.first_share(),
        disagreement=rates.disagreement(),
        our_score=our_score,
        their_score=their_score,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Rates:
    """Means over comparisons, with intervals by prompt."""

    judged: Sequence[JudgedComparison]
    bootstrap: Bootstrap

    @property
    def prompts(self) -> IntArray:
        """Number of each comparison's prompt, without gaps. Shape: (comparison,)."""
        numbers = np.array([item.comparison.prompt_number for item in self.judged])
        return np.unique(numbers, return_inverse=True)[1]

    @property
    def has_both_orders(self) -> bool:
        return all(item.ours_first is not None and item.theirs_first is not None for item in self.judged)

    @property
    def num_prompts(self) -> int:
        return int(self.prompts.max()) + 1

    def interval(self, statistic: Statistic) -> Interval:
        return self.bootstrap.interval(statistic, self.num_prompts)

    def mean(self, values: FloatArray) -> Interval:
        return self.interval(self._ratio(values, np.ones_like(values)))

    def share(self, values: FloatArray, counts: FloatArray | None = None) -> Interval:
        """Sum of the values over sum of the counts (default: the number of comparisons)."""
        ratio = self._ratio(values, np.ones_like(values) if counts is None else counts)
        return self.bootstrap.share(ratio, self.num_prompts)

    def _ratio(self, values: FloatArray, counts: FloatArray) -> Statistic:
        return ratio_of(*(sums_by_prompt(rows, self.prompts, self.num_prompts) for rows in (values, counts)))

    def first_share(self) -> Interval | None:
        decided = self._count("first") + self._count("second")
        if not self.has_both_orders or not decided.sum():
            return None
        kept = decided > 0
        part = _Rates([item for item, is_kept in zip(self.judged, kept, strict=True) if is_kept], self.bootstrap)
        return part.share(self._count("first")[kept], decided[kept])

    def disagreement(self) -> Interval | None:
        if not self.has_both_orders:
            return None
        contradicts = [choices in (["first"] * 2, ["second"] * 2) for choices in map(_choices, self.judged)]
        return self.share(np.array(contradicts, dtype=np.float64))

    def scores(self) -> tuple[Interval | None, Interval | None]:
        """Of our and of their completions."""
        scores = [item.scores for item in self.judged if item.scores is not None]
        if len(scores) < len(self.judged):
            return None, None
        ours, theirs = np.array(scores).T
        return self.mean(ours), self.mean(theirs)

    def _count(self, choice: str) -> FloatArray:
        """How often a choice was made in each comparison. Shape: (comparison,)."""
        return np.array([float(_choices(item).count(choice)) for item in self.judged])


def _choices(judged: JudgedComparison) -> list[str]:
    return [verdict.choice for verdict in judged.verdicts]


def _length_controlled(points: FloatArray, differences: FloatArray, prompts: IntArray) -> Statistic:
    """The win rate at no difference of length.

    logit P(win) = b0 + b1 * tanh(difference / standard deviation of differences);  rate = sigmoid(b0)

    Source: Dubois et al. 2024, arXiv:2404.04475, Section 3.
    Differs: no term for how hard a prompt is, which takes verdicts on many models to fit.
    """
    spread = differences.std()
    scaled = np.tanh(differences / spread) if spread else np.zeros_like(differences)
    features = np.stack([np.ones_like(scaled), scaled], axis=1)

    def statistic(weights: FloatArray) -> FloatArray:
        return sigmoid(fit_logistic(features, points, weights[:, prompts])[:, 0])

    return statistic
