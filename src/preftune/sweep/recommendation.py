"""Which point of a sweep to take, and why."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from preftune.metrics.intervals import Interval
from preftune.sweep.pooled import Pooled, difference

__all__ = ["Candidate", "Recommendation", "recommend"]

Unit = Callable[[float], str]
"""A value as text."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A point that may be recommended.

    Args:
        name: For people.
        pooled: Value and KL over its seeds.
        is_sick: Whether a rule on the health of a run says that what came out is no good.
        edges: Sentences on settings of the point that are at an end of what was tried.
    """

    name: str
    pooled: Pooled
    is_sick: bool = False
    edges: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Recommendation:
    """Which point to take.

    Args:
        name: Of the point; None where there is none to take.
        best: The point with the highest value among those that may be taken; None if there is none.
        equals: Points whose value is not credibly below that of the best, it among them, the least KL first.
        is_undecided: Whether that holds of all points, so that the values tell none from another.
        reasons: Sentences that say why.
        warnings: Sentences on what to beware of.
    """

    name: str | None
    best: str | None
    equals: tuple[str, ...]
    is_undecided: bool
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]


def recommend(
    candidates: Sequence[Candidate],
    *,
    value: str,
    confidence: float,
    kl_budget: float | None = None,
    reference_value: float | None = None,
    unit: Unit = "{:.3f}".format,
) -> Recommendation:
    """Of the points whose value is not credibly below the highest, the one with the least KL.

    A point is credibly below the best if the interval of their difference, paired by prompt, lies above 0. What gives
    no credible gain in value is not worth a nat of distance. Sick points and those beyond the budget are left out.

    Args:
        candidates: Points that were evaluated.
        value: What the value is called.
        confidence: Of the intervals.
        kl_budget: Most KL. Unit: nats.
        reference_value: What the reference has, where that is known.
        unit: How values are written.
    Source: the rule of one standard error (Breiman et al. 1984, Classification and Regression Trees, 3.4.3), with a
        paired interval in place of the standard error.
    """
    sick = [item.name for item in candidates if item.is_sick]
    warnings = [f"{name} is sick by a rule of docs/health.md and is left out." for name in sick]
    able = [item for item in candidates if not item.is_sick]
    within = [item for item in able if kl_budget is None or item.pooled.kl.value <= kl_budget]
    if not within:
        return Recommendation(None, None, (), False, tuple(_nothing(able, kl_budget)), tuple(warnings))
    best = max(within, key=lambda item: (item.pooled.value.value, -item.pooled.kl.value))
    gaps = {item.name: difference(best.pooled, item.pooled, confidence) for item in within}
    equals = sorted(
        (item for item in within if item is best or not gaps[item.name].low > 0), key=lambda item: item.pooled.kl.value
    )
    chosen = equals[0]
    undecided = len(within) > 1 and len(equals) == len(within)
    reasons = _Reasons(value, unit, gaps, kl_budget)
    warnings += reasons.cautions(within, chosen, undecided=undecided, reference_value=reference_value)
    if not undecided:
        warnings += dict.fromkeys((*chosen.edges, *best.edges))
    return Recommendation(
        name=chosen.name,
        best=best.name,
        equals=tuple(item.name for item in equals),
        is_undecided=undecided,
        reasons=tuple(reasons.of(within, chosen, best, equals)),
        warnings=tuple(warnings),
    )


def _nothing(able: Sequence[Candidate], kl_budget: float | None) -> Iterator[str]:
    if not able:
        yield "No point came to its end in good health, so there is none to recommend."
        return
    nearest = min(able, key=lambda item: item.pooled.kl.value)
    yield (
        f"No point is within the budget of {kl_budget:g} nats: the nearest, {nearest.name}, is at "
        f"{nearest.pooled.kl.value:.2f}. Raise beta or --kl-budget, or train less."
    )


@dataclass(frozen=True, slots=True)
class _Reasons:
    value: str
    unit: Unit
    gaps: Mapping[str, Interval]
    kl_budget: float | None

    def of(
        self, within: Sequence[Candidate], chosen: Candidate, best: Candidate, equals: Sequence[Candidate]
    ) -> Iterator[str]:
        limit = "" if self.kl_budget is None else f" of those within {self.kl_budget:g} nats"
        if len(within) == 1:
            yield f"{chosen.name} is the only point{limit} to take."
            return
        if chosen is best:
            others = "no other is credibly as good" if len(equals) == 1 else "no point that may be as good is nearer"
            yield f"{chosen.name} has the highest {self.value}{limit}, {self._text(best)}, and {others}."
            return
        yield f"{best.name} has the highest {self.value}{limit}, {self._text(best)}."
        gap = self._interval(self.gaps[chosen.name])
        yield (
            f"{chosen.name} has {self._text(chosen)}, which is not credibly less (difference {gap}), and of the "
            f"{len(equals)} points of which that holds it is the nearest to the reference: KL "
            f"{chosen.pooled.kl.value:.2f} against {best.pooled.kl.value:.2f} nats."
        )

    def cautions(
        self, within: Sequence[Candidate], chosen: Candidate, *, undecided: bool, reference_value: float | None
    ) -> Iterator[str]:
        if undecided:
            yield (
                f"The data cannot tell the points apart: the {self.value} of none is credibly below the highest. The "
                "choice rests on KL alone. Evaluate on more prompts (--num-prompts, --samples) or with more seeds."
            )
        prompts = {found for item in within for found in item.pooled.prompts}
        if len(prompts) > 1:
            yield "Points were not evaluated on the same prompts, so that differences are less sure than they could be."
        low = chosen.pooled.value.low
        if reference_value is not None and not low > reference_value:
            yield (
                f"The {self.value} of {chosen.name} is not credibly above that of the reference, "
                f"{self.unit(reference_value)}."
            )
        if self.kl_budget is not None and chosen.pooled.kl.high > self.kl_budget:
            yield (
                f"The KL of {chosen.name} may lie beyond the budget: its interval ends at "
                f"{chosen.pooled.kl.high:.2f} nats."
            )

    def _text(self, item: Candidate) -> str:
        return self._interval(item.pooled.value)

    def _interval(self, found: Interval) -> str:
        return f"{self.unit(found.value)} [{self.unit(found.low)}, {self.unit(found.high)}]"
