"""Ties, small margins, and scores that contradict the pair."""

import statistics
from array import array
from collections.abc import Iterator
from typing import final

from typing_extensions import override

from preftune.data.quality.check import Check, CheckSettings
from preftune.data.quality.facts import GroupFacts
from preftune.data.quality.finding import Found, severity_of
from preftune.data.quality.histogram import Histogram, histogram_of

__all__ = ["Margins"]

_SMALL = 0.1
_TIE_WARNING, _TIE_ERROR = 0.01, 0.5
_SMALL_WARNING = 0.1
_INVERTED_ERROR = 0.01


@final
class Margins(Check):
    """How much better chosen is than rejected, where margins or scores say so.

    A tie: margin 0, or two completions of a list with equal scores. A small margin: above 0 and below a tenth of the
    median margin; there is no other scale to go by. Inverted: margin below 0. Severity: ties a warning from 1 %, an
    error from half of all; small ones a warning from 10 %; inverted ones a warning, an error from 1 %, because then
    either the labels or the scores are wrong.
    """

    def __init__(self, _: CheckSettings) -> None:
        self._margins = array("d")
        self._places = array("Q")
        self._tied = array("Q")
        self._num_ties = 0

    @override
    def add(self, facts: GroupFacts) -> None:
        if facts.judged.ties:
            self._num_ties += len(facts.judged.ties)
            self._tied.append(facts.place)
        for pair in facts.judged.comparisons:
            if pair.margin is not None:
                self._margins.append(pair.margin)
                self._places.append(facts.place)
                if pair.margin == 0:
                    self._num_ties += 1
                    self._tied.append(facts.place)

    @override
    def found(self) -> Iterator[Found]:
        total = len(self._margins) + self._num_ties - sum(margin == 0 for margin in self._margins)
        if not total:
            return
        if self._num_ties:
            yield self._found_ties(total)
        inverted = self._below(0.0)
        if inverted:
            yield self._found_inverted(inverted, total)
        positive = [margin for margin in self._margins if margin > 0]
        if positive:
            median = statistics.median(positive)
            small = self._below(_SMALL * median, above=0.0)
            if small:
                yield self._found_small(small, median, total)

    def _below(self, bound: float, above: float = -float("inf")) -> "array[int]":
        pairs = zip(self._margins, self._places, strict=True)
        return array("Q", (place for margin, place in pairs if above < margin < bound))

    def _found_ties(self, total: int) -> Found:
        return Found(
            check="margins",
            severity=severity_of(self._num_ties / total, warning=_TIE_WARNING, error=_TIE_ERROR),
            title=f"Pairs that are ties, their margin 0: {self._num_ties:,}",
            count=self._num_ties,
            total=total,
            unit="pairs",
            why="Neither completion is better. A pair that says so all the same is a coin toss; of scores no pair is "
            "made.",
            advice="Leave them out: `preftune clean --drop-ties 0`.",
            places=self._tied,
        )

    def _found_inverted(self, places: "array[int]", total: int) -> Found:
        return Found(
            check="margins",
            severity=severity_of(len(places) / total, warning=0.0, error=_INVERTED_ERROR),
            title=f"Pairs whose rejected completion has the higher score: {len(places):,}",
            count=len(places),
            total=total,
            unit="pairs",
            why="The pair and the scores contradict each other, so one of them is wrong.",
            advice="Find out which is right. If it is the scores, make pairs of them with --pairing all.",
            places=places,
        )

    def _found_small(self, places: "array[int]", median: float, total: int) -> Found:
        gap = float(f"{_SMALL * median:.3g}")
        return Found(
            check="margins",
            severity=severity_of(len(places) / total, warning=_SMALL_WARNING),
            title=f"Pairs with a margin below {gap:g}, a tenth of the median: {len(places):,}",
            count=len(places),
            total=total,
            unit="pairs",
            why="Judges who are asked again often turn such pairs round.",
            advice=f"Leave them out with `preftune clean --drop-ties {gap:g}`, or use a method that takes margins.",
            places=places,
            measures={"median_margin": median, "threshold": gap},
        )

    @override
    def histograms(self) -> Iterator[Histogram]:
        picture = histogram_of("Margin of chosen over rejected", "score", {"pairs": self._margins})
        if picture is not None:
            yield picture
