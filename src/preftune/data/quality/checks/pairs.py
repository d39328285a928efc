"""Checks of single pairs: completions that are the same, ties, small margins, scores against the pair."""

import statistics
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import final

from preftune.data.quality.check import Check, CheckRule, CheckSettings, Draft
from preftune.data.quality.facts import GroupFacts
from preftune.data.quality.histogram import Histogram, histogram_of
from preftune.data.rows import BadRow, LeftOut

_NEARLY = 0.95
_SMALL = 0.1

_EQUAL = CheckRule(
    title="Pairs with the same completion on both sides: {count:,}",
    unit="pairs",
    reason="They are equal but for case and white space: nothing says why the chosen one is better.",
    advice="Leave them out: `preftune clean {remedy}`.",
    remedy="--drop-identical",
    error=0.0,
)
_NEARLY_EQUAL = CheckRule(
    title="Pairs with nearly the same completion on both sides: {count:,}",
    unit="pairs",
    reason="At least 95 % of the words are shared, so most of both log-probs cancels, and the loss pushes hard on the "
    "few words that differ.",
    advice="Read some. If the difference is the point, as in arithmetic, keep them.",
    warning=0.01,
)


@final
class Identical(Check):
    """Pairs whose completions are equal but for case and white space, or share 95 % of their words.

    Severity: equal ones are an error, because nothing says which is better and training stops there; nearly equal ones
    a warning from 1 % of the pairs. If a single word decides, as in arithmetic, that is as it should be.
    """

    name = "identical"
    about = "chosen and rejected that are the same, or nearly"

    def __init__(self, settings: CheckSettings) -> None:  # noqa: ARG002
        self._equal, self._nearly = array("Q"), array("Q")
        self._num_pairs = 0

    def add_unusable(self, row: BadRow | LeftOut, place: int) -> None:
        if isinstance(row, BadRow) and row.fault == "equal":
            self._num_pairs += 1
            self._equal.append(place)

    def add(self, facts: GroupFacts) -> None:
        for pair in facts.pairs:
            self._num_pairs += 1
            if facts.keys[pair.chosen] == facts.keys[pair.rejected]:
                self._equal.append(facts.place)
            elif shared_words(facts.words[pair.chosen], facts.words[pair.rejected]) >= _NEARLY:
                self._nearly.append(facts.place)

    def drafts(self) -> Iterator[Draft]:
        if self._equal:
            yield _EQUAL.draft(len(self._equal), self._num_pairs, self._equal)
        if self._nearly:
            measures = {"threshold": _NEARLY}
            yield _NEARLY_EQUAL.draft(len(self._nearly), self._num_pairs, self._nearly, measures=measures)


def shared_words(first: Sequence[str], second: Sequence[str]) -> float:
    """Words in both, with repetition, per words of the longer text; 0 if the lengths alone rule out 95 %.

    >>> shared_words("a b b".split(), "b a b".split())
    1.0
    """
    shorter, longer = sorted((len(first), len(second)))
    if shorter < _NEARLY * longer or not longer:
        return 0.0
    return (Counter(first) & Counter(second)).total() / longer


_TIES = CheckRule(
    title="Pairs that are ties, with margin 0: {count:,}",
    unit="pairs",
    reason="Neither completion is better. A pair that names one all the same is a coin toss; tied scores make no pair.",
    advice="Leave them out: `preftune clean {remedy}`.",
    remedy="--drop-ties 0",
    warning=0.01,
    error=0.5,
)
_INVERTED = CheckRule(
    title="Pairs whose rejected completion has the higher score: {count:,}",
    unit="pairs",
    reason="The pair and the scores contradict each other, so one of them is wrong.",
    advice="Find out which is right. If it is the scores, make pairs from them with --pairing all.",
    warning=0.0,
    error=0.01,
)
_SMALL_MARGINS = CheckRule(
    title="Pairs with a margin below {gap:g}, a tenth of the median: {count:,}",
    unit="pairs",
    reason="Judges who are asked again often reverse such pairs.",
    advice="Leave them out with `preftune clean {remedy}`, or use a method that takes margins.",
    remedy="--drop-ties {gap:g}",
    warning=0.1,
)


@final
class Margins(Check):
    """Margin of chosen over rejected, where the data give margins or scores.

    A tie: margin 0, or two completions of a list with equal scores. A small margin: above 0 and below a tenth of the
    median margin; there is no other scale to go by. Inverted: a margin below 0. Severity: ties a warning from 1 %, an
    error from half of all; small ones a warning from 10 %; inverted ones a warning, an error from 1 %, because then
    either the labels or the scores are wrong.
    """

    name = "margins"
    about = "ties, small margins, scores that contradict the pair"

    def __init__(self, settings: CheckSettings) -> None:  # noqa: ARG002
        self._margins = array("d")
        self._places = array("Q")
        self._tied = array("Q")
        self._num_ties = self._num_zero = 0

    def add(self, facts: GroupFacts) -> None:
        if facts.num_ties:
            self._num_ties += facts.num_ties
            self._tied.append(facts.place)
        for pair in facts.pairs:
            if pair.margin is not None:
                self._margins.append(pair.margin)
                self._places.append(facts.place)
                if pair.margin == 0:
                    self._num_zero += 1
                    self._tied.append(facts.place)

    def drafts(self) -> Iterator[Draft]:
        total = len(self._margins) + self._num_ties
        if self._tied:
            yield _TIES.draft(self._num_ties + self._num_zero, total, self._tied)
        inverted = self._between(-float("inf"), 0.0)
        if inverted:
            yield _INVERTED.draft(len(inverted), total, inverted)
        positive = [margin for margin in self._margins if margin > 0]
        median = statistics.median(positive) if positive else 0.0
        small = self._between(0.0, _SMALL * median)
        if small:
            gap = float(f"{_SMALL * median:.3g}")
            measures = {"median_margin": median, "threshold": gap}
            yield _SMALL_MARGINS.draft(len(small), total, small, measures=measures, values={"gap": gap})

    def _between(self, low: float, high: float) -> "array[int]":
        pairs = zip(self._margins, self._places, strict=True)
        return array("Q", (place for margin, place in pairs if low < margin < high))

    def histogram(self) -> Histogram | None:
        return histogram_of("Margin of chosen over rejected", "score", {"pairs": self._margins})


CHECKS: tuple[type[Check], ...] = (Identical, Margins)
