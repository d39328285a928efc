"""Win rate of a model against an opponent, by a judge."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from preftune.errors import ConfigError
from preftune.evaluation.drawing import Drawer
from preftune.judges.judge import Comparison, JudgedComparison
from preftune.metrics.intervals import Bootstrap, FloatArray, IntArray, Interval, Statistic, ratio_of, sums_by_prompt
from preftune.metrics.logistic import fit_logistic, sigmoid
from preftune.model.generation.completions import Generation
from preftune.model.load.evaluated_models import Models, load_other
from preftune.model.reference.reference import AdapterOff
from preftune.runs.samples import SamplePrompts
from preftune.settings.evaluation_config import EvaluationConfig
from preftune.settings.sampling import Sampling


@dataclass(frozen=True, slots=True)
class WinRate:
    """Win rate of a model against an opponent, by a judge.

    Args:
        temperature: Temperature of the completions, and of the opponent's if these are drawn.
        num_comparisons: Comparisons with a verdict in every order asked. All other fields are about these.
        num_without_verdict: Comparisons without one: no answer, or one that does not say which is better.
        rate: Mean of our points over comparisons: 1 for a win, 0.5 for a tie, 0 for a loss, averaged over both orders.
        wins, ties, losses: Shares of comparisons with more than half a point, half a point, and less.
        length_controlled: Estimated rate at equal length of both texts.
        length_difference: Mean length of the model's minus that of the opponent's completions. Unit: characters.
        first_share: Share of the verdicts other than ties that prefer the completion shown first; 0.5 without position
            bias. None for judges that do not depend on the order, or if there are only ties.
        disagreement: Share of comparisons whose two orders contradict each other: the same place wins in both. None for
            judges that do not depend on the order.
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
    """The win rate with its intervals, or None if no comparison has a verdict.

    Args:
        bootstrap: Method of the intervals. Default: 1000 resamples, 95 %.
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
        """Sum of the values over sum of the counts. Default counts: 1 per comparison."""
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
        """Mean scores of our and of their completions; None if the judge does not score."""
        known = [item.scores for item in self.judged if item.scores is not None]
        if len(known) < len(self.judged):
            return None, None
        ours, theirs = (self.mean(np.array(side)) for side in zip(*known, strict=True))
        return ours, theirs

    def _count(self, choice: str) -> FloatArray:
        """Number of verdicts with this choice in each comparison. Shape: (comparison,)."""
        return np.array([float(_choices(item).count(choice)) for item in self.judged])


def _choices(judged: JudgedComparison) -> list[str]:
    return [verdict.choice for verdict in judged.verdicts]


def _length_controlled(points: FloatArray, differences: FloatArray, prompts: IntArray) -> Statistic:
    """Win rate at equal length.

    logit P(win) = b0 + b1 * tanh(difference / standard deviation of differences);  rate = sigmoid(b0)

    Source: Dubois et al. 2024, arXiv:2404.04475, Section 3.
    Differs: no term for the difficulty of a prompt: fitting it needs verdicts on many models.
    """
    spread = differences.std()
    scaled = np.tanh(differences / spread) if spread else np.zeros_like(differences)
    features = np.stack([np.ones_like(scaled), scaled], axis=1)

    def statistic(weights: FloatArray) -> FloatArray:
        return sigmoid(fit_logistic(features, points, weights[:, prompts])[:, 0])

    return statistic


@dataclass(frozen=True, slots=True, eq=False)
class Opponent:
    """Source of the completions that the model's are compared with.

    Args:
        texts: Returns its completions for each prompt, `Sampling.num_samples` of them; None for a prompt without an
            answer.
    """

    name: str
    texts: Callable[[Sampling], list[list[str] | None]]


def find_opponent(config: EvaluationConfig, models: Models, prompts: SamplePrompts, drawer: Drawer) -> Opponent:
    """The opponent that the settings name. Default: the reference; without a reference, the chosen answers.

    Raises:
        ConfigError: the settings name chosen answers, but the prompts have none.
        ModelError, TokenizerError: another model that cannot be loaded.
    """
    name = config.judge.against or ("reference" if models.has_reference else "chosen")
    if name == "chosen":
        return _chosen(prompts)
    if name == "reference":
        return Opponent("reference", lambda sampling: _texts(draw_from_reference(models, prompts, sampling, drawer)))
    model, tokenizer = load_other(config, name, drawer.arithmetic)
    return Opponent(name, lambda sampling: _texts(drawer.draw(model, tokenizer, prompts.asked, sampling)))


def draw_from_reference(
    models: Models, prompts: SamplePrompts, sampling: Sampling, drawer: Drawer
) -> list[list[Generation]]:
    """Samples of the reference, by prompt."""
    with models.reference_model() as model:
        adapters = () if isinstance(models.reference, AdapterOff) else None
        return drawer.draw(model, models.tokenizer, prompts.asked, sampling, adapters=adapters)


def compare(
    prompts: SamplePrompts, drawn: Sequence[Sequence[Generation]], theirs: Sequence[list[str] | None]
) -> list[Comparison]:
    """Pair sample i of each prompt with the opponent's completion i. Prompts that the opponent lacks are left out."""
    return [
        Comparison(number, prompt, sample.text, other)
        for number, (prompt, samples, others) in enumerate(zip(prompts.texts, drawn, theirs, strict=True))
        if others is not None
        for sample, other in zip(samples, others, strict=True)
    ]


def _chosen(prompts: SamplePrompts) -> Opponent:
    if not any(answer is not None for answer in prompts.chosen):
        raise ConfigError(
            [
                "against = chosen: the prompts have no chosen answers. Give data with answers, or name another "
                "opponent with --against."
            ]
        )
    return Opponent(
        "chosen",
        lambda sampling: [None if answer is None else [answer] * sampling.num_samples for answer in prompts.chosen],
    )


def _texts(drawn: Sequence[Sequence[Generation]]) -> list[list[str] | None]:
    return [[sample.text for sample in samples] for samples in drawn]
