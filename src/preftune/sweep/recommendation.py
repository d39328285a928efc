"""Recommendation of a setting: means over seeds, their differences, and the reasons."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from preftune.evaluation.by_prompt import ByPrompt
from preftune.files.number_text import value_text
from preftune.metrics.intervals import Bootstrap, FloatArray, Interval
from preftune.settings.space import Dimension, Range, Setup, Value
from preftune.settings.sweep_sections import ValueKind
from preftune.sweep.model_evaluation import ModelEvaluation, interval_of
from preftune.sweep.result import Recommendation, Standing

Unit = Callable[[float], str]
"""Formats a value."""

_NEAR = 0.05
"""Share of a search range that counts as its end."""


def edge_texts(setup: Setup, over: Mapping[str, Sequence[Value]], space: Mapping[str, Dimension]) -> Iterator[str]:
    """A sentence for each number of a setup at an end of its grid (`over`) or search range (`space`).

    >>> list(edge_texts({"beta": 0.03}, {"beta": [0.03, 0.1]}, {}))
    ['beta = 0.03 is the lowest that was tried: try lower ones.']
    """
    for name, value in setup.items():
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            continue
        end = _end(value, over.get(name, ()), space.get(name))
        if end is not None:
            further = "lower" if end == "lowest" else "higher"
            verb = "is the" if name in over else "is close to the"
            yield f"{name} = {value_text(value)} {verb} {end} that was tried: try {further} ones."


def _end(value: float, tried: Sequence[Value], dimension: Dimension | None) -> str | None:
    numbers = [item for item in tried if isinstance(item, (int, float)) and not isinstance(item, bool)]
    if isinstance(dimension, Range):
        place = dimension.place(value)
        return "lowest" if place <= _NEAR else "highest" if place >= 1 - _NEAR else None
    if len(numbers) < 2 or value not in (min(numbers), max(numbers)):
        return None
    return "lowest" if value == min(numbers) else "highest"


@dataclass(frozen=True, slots=True, eq=False)
class SeedMean:
    """Means over the seeds of a setting.

    Args:
        value, kl: With intervals over prompts.
        value_draws: The value for every resample of the prompts. Settings evaluated on the same prompts are resampled
            alike, so that their differences are paired. Shape: (resample,).
        prompts: Digests of the prompts of each seed's evaluation.
    """

    value: Interval
    kl: Interval
    value_draws: FloatArray
    prompts: tuple[tuple[str, ...], ...]


def seed_means(
    runs: Mapping[str, Sequence[ModelEvaluation]], kind: ValueKind, bootstrap: Bootstrap
) -> dict[str, SeedMean]:
    """Mean over the seeds of each setting.

    Args:
        runs: Evaluations by setting, one per seed.
        bootstrap: Resampling of the prompts. The intervals do not include the variation between seeds.
    """
    draws = _Draws(bootstrap)
    found = {}
    for name, items in runs.items():
        values, kls = [item.value for item in items], [item.kl for item in items]
        value_draws = draws.mean(values)
        found[name] = SeedMean(
            value=_interval(values, kind, value_draws, bootstrap),
            kl=_interval(kls, None, draws.mean(kls), bootstrap),
            value_draws=value_draws,
            prompts=tuple(item.prompts for item in values),
        )
    return found


def difference(better: SeedMean, worse: SeedMean, confidence: float) -> Interval:
    """Value of one setting minus that of another, paired by prompt where the prompts are the same."""
    draws = better.value_draws - worse.value_draws
    low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2])
    value = better.value.value - worse.value.value
    return Interval(value, float(low), float(high), float(draws.std()), better.value.num_prompts)


class _Draws:
    """Means over resampled prompts. Equal sets of prompts share their resamples; different sets are independent."""

    def __init__(self, bootstrap: Bootstrap) -> None:
        self._bootstrap = bootstrap
        self._seeds: dict[tuple[str, ...], int] = {}

    def mean(self, runs: Sequence[ByPrompt]) -> FloatArray:
        """Mean over runs, for each resample. Shape: (resample,)."""
        found: FloatArray = np.mean([self._of(run) for run in runs], axis=0)
        return found

    def _of(self, measured: ByPrompt) -> FloatArray:
        number = self._seeds.setdefault(measured.prompts, len(self._seeds))
        own = replace(self._bootstrap, seed=self._bootstrap.seed + number)
        return own.draws(measured.statistic, len(measured.prompts))


def _interval(
    measured: Sequence[ByPrompt], kind: ValueKind | None, draws: FloatArray, bootstrap: Bootstrap
) -> Interval:
    mean = sum(item.mean for item in measured) / len(measured)
    is_share = kind in ("win_rate", "accuracy")
    if len(measured) == 1 or (is_share and mean in (0, 1)):  # all resamples would be equal
        return interval_of(measured[0], kind, bootstrap)
    tail = (1 - bootstrap.confidence) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return Interval(mean, float(low), float(high), float(draws.std()), min(len(item.prompts) for item in measured))


def interval_text(found: Interval, unit: Callable[[float], str]) -> str:
    """An estimate with its interval, if that is known.

    >>> interval_text(Interval(0.5, 0.4, 0.6, 0.05, 100), "{:.1%}".format)
    '50.0% [40.0%, 60.0%]'
    """
    if found.low != found.low:
        return unit(found.value)
    return f"{unit(found.value)} [{unit(found.low)}, {unit(found.high)}]"


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A setting that may be recommended.

    Args:
        is_sick: True if a health rule says that a model is unusable.
        edges: Sentences about values at an end of the range that was tried.
    """

    name: str
    mean: SeedMean
    is_sick: bool = False
    edges: tuple[str, ...] = ()


def recommend(
    candidates: Sequence[Candidate],
    *,
    value: str,
    confidence: float,
    kl_budget: float | None = None,
    reference_value: float | None = None,
    unit: Unit = "{:.3f}".format,
) -> Recommendation:
    """Recommend the point with the least KL among those whose value is not credibly below the highest.

    A point is credibly below the best if the interval of their difference, paired by prompt, lies above 0: without a
    credible gain in value, extra KL is not worth it. Sick points, those beyond the KL budget, and those that are not
    credibly above the reference are excluded.

    Args:
        kl_budget: Most KL. Unit: nats.
        reference_value: The reference's value, if known. It counts as exact.
    Source: the rule of one standard error (Breiman et al. 1984, Classification and Regression Trees, 3.4.3), with a
        paired interval in place of the standard error.
    """
    able = [item for item in candidates if not item.is_sick]
    within = [item for item in able if kl_budget is None or item.mean.kl.value <= kl_budget]
    standing = {} if reference_value is None else {item.name: standing_of(item, reference_value) for item in candidates}
    fit = [item for item in within if reference_value is None or standing[item.name] == "better"]
    nothing = Recommendation(
        name=None,
        best=None,
        equals=(),
        is_undecided=False,
        reasons=(),
        warnings=tuple(
            f"{item.name} is sick by a rule of docs/health.md and is excluded." for item in candidates if item.is_sick
        ),
        against_reference=standing,
        ties=tuple(_ties(candidates)),
    )
    if not fit:
        texts = _Nothing(value, unit, reference_value, kl_budget)
        return replace(nothing, reasons=tuple(texts.of(nothing, able, within)))
    best = max(fit, key=lambda item: (item.mean.value.value, -item.mean.kl.value))
    gaps = {item.name: difference(best.mean, item.mean, confidence) for item in fit}
    equals = sorted(
        (item for item in fit if item is best or not gaps[item.name].low > 0), key=lambda item: item.mean.kl.value
    )
    chosen = equals[0]
    undecided = len(within) > 1 and len(equals) == len(within)
    reasons = _Reasons(value, unit, gaps, kl_budget, nothing)
    warnings = [*nothing.warnings, *reasons.cautions(within, chosen, undecided=undecided)]
    if not undecided:
        warnings += dict.fromkeys((*chosen.edges, *best.edges))
    return replace(
        nothing,
        name=chosen.name,
        best=best.name,
        equals=tuple(item.name for item in equals),
        is_undecided=undecided,
        reasons=tuple(reasons.of(fit, chosen, best, equals)),
        warnings=tuple(warnings),
    )


def standing_of(item: Candidate, reference_value: float) -> Standing:
    """The value of a point against that of the reference, by its interval."""
    if item.mean.value.low > reference_value:
        return "better"
    return "worse" if item.mean.value.high < reference_value else "unclear"


def _ties(candidates: Sequence[Candidate]) -> Iterator[tuple[str, ...]]:
    """Groups of points whose value is the same for all resamples of the same prompts."""
    left = list(candidates)
    while left:
        first, *left = left
        same = [item for item in left if _is_same(first.mean, item.mean)]
        left = [item for item in left if item not in same]
        if same:
            yield (first.name, *(item.name for item in same))


def _is_same(first: SeedMean, second: SeedMean) -> bool:
    return first.prompts == second.prompts and np.array_equal(first.value_draws, second.value_draws)


def _tie_texts(ties: Sequence[Sequence[str]], value: str) -> Iterator[str]:
    for names in ties:
        yield f"{', '.join(names[:-1])} and {names[-1]} are equal: the same {value} on all prompts."


@dataclass(frozen=True, slots=True)
class _Nothing:
    """Reasons to recommend nothing."""

    value: str
    unit: Unit
    reference_value: float | None
    kl_budget: float | None

    def of(self, found: Recommendation, able: Sequence[Candidate], within: Sequence[Candidate]) -> Iterator[str]:
        if not able:
            yield "No point finished in good health, so there is none to recommend."
        elif not within:
            nearest = min(able, key=lambda item: item.mean.kl.value)
            yield (
                f"No point is within the budget of {self.kl_budget:g} nats: the nearest, {nearest.name}, is at "
                f"{nearest.mean.kl.value:.2f}. Raise beta or --kl-budget, or train less."
            )
        else:
            yield from self._below_reference(found, within)
        yield from _tie_texts(found.ties, self.value)

    def _below_reference(self, found: Recommendation, within: Sequence[Candidate]) -> Iterator[str]:
        assert self.reference_value is not None, "without a reference, a point within the budget is fit"
        yield f"The model you began with has the {self.value} {self.unit(self.reference_value)}."
        for standing, text in (("worse", "worse than it"), ("unclear", "not distinguishable from it")):
            names = [item for item in within if found.against_reference[item.name] == standing]
            if names:
                shown = ", ".join(f"{item.name} ({interval_text(item.mean.value, self.unit)})" for item in names)
                yield f"{text[:1].upper()}{text[1:]}: {shown}."
        if "unclear" in found.against_reference.values():
            yield "More prompts narrow the intervals (--num-prompts, --samples)."
        yield "Train longer, or with another --learning-rate or --beta."


@dataclass(frozen=True, slots=True)
class _Reasons:
    value: str
    unit: Unit
    gaps: Mapping[str, Interval]
    kl_budget: float | None
    found: Recommendation

    def of(
        self, fit: Sequence[Candidate], chosen: Candidate, best: Candidate, equals: Sequence[Candidate]
    ) -> Iterator[str]:
        yield from self._choice(fit, chosen, best, equals)
        yield from _tie_texts(self.found.ties, self.value)
        worse = [name for name, standing in self.found.against_reference.items() if standing == "worse"]
        if worse:
            yield f"Worse than the model you began with: {', '.join(worse)}."

    def _choice(
        self, fit: Sequence[Candidate], chosen: Candidate, best: Candidate, equals: Sequence[Candidate]
    ) -> Iterator[str]:
        limit = "" if self.kl_budget is None else f" of those within {self.kl_budget:g} nats"
        if len(fit) == 1:
            above = " that is credibly better than the model you began with" if self.found.against_reference else ""
            yield f"{chosen.name} is the only point{limit}{above}: its {self.value} is {self._text(chosen)}."
            return
        if chosen is best:
            others = "all others are credibly lower" if len(equals) == 1 else "no point that may equal it has less KL"
            yield f"{self._highest(best, fit, limit)}, and {others}."
            return
        yield f"{self._highest(best, fit, limit)}."
        gap = interval_text(self.gaps[chosen.name], self.unit)
        yield (
            f"{chosen.name} has {self._text(chosen)}, which is not credibly less (difference {gap}). Of the "
            f"{len(equals)} points that may equal the best it has the least KL: {chosen.mean.kl.value:.2f} against "
            f"{best.mean.kl.value:.2f} nats."
        )

    def _highest(self, best: Candidate, fit: Sequence[Candidate], limit: str) -> str:
        tied = next((names for names in self.found.ties if best.name in names), (best.name,))
        names = [item.name for item in fit if item.name in tied]
        verb = "has" if len(names) == 1 else "have"
        return f"{' and '.join(names)} {verb} the highest {self.value}{limit}, {self._text(best)}"

    def cautions(self, within: Sequence[Candidate], chosen: Candidate, *, undecided: bool) -> Iterator[str]:
        if undecided:
            yield (
                f"The data do not separate the points: no {self.value} is credibly below the highest. The choice rests "
                "on KL alone. Evaluate on more prompts (--num-prompts, --samples) or with more seeds."
            )
        prompts = {found for item in within for found in item.mean.prompts}
        if len(prompts) > 1:
            yield "Points were evaluated on different prompts, which makes their differences less certain."
        if self.kl_budget is not None and chosen.mean.kl.high > self.kl_budget:
            yield (
                f"The KL of {chosen.name} may exceed the budget: its interval ends at {chosen.mean.kl.high:.2f} nats."
            )

    def _text(self, item: Candidate) -> str:
        return interval_text(item.mean.value, self.unit)
