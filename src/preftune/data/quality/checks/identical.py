"""Chosen and rejected that are the same, or nearly."""

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import final

from typing_extensions import override

from preftune.data.quality.check import Check, CheckSettings
from preftune.data.quality.facts import GroupFacts
from preftune.data.quality.finding import Found, severity_of
from preftune.data.rows import BadRow, LeftOut

__all__ = ["Identical", "shared_words"]

_NEARLY = 0.95
_WARNING = 0.01


@final
class Identical(Check):
    """Pairs whose completions are equal, equal but for case and white space, or share 95 % of their words.

    Severity: equal ones are an error, as nothing says which is better and training stops there; nearly equal ones a
    warning from 1 % of the pairs. Where a single word decides, as in arithmetic, that is as it should be.
    """

    def __init__(self, _: CheckSettings) -> None:
        self._equal, self._nearly = array("Q"), array("Q")
        self._num_equal = self._num_nearly = self._num_pairs = 0

    @override
    def add_unusable(self, row: BadRow | LeftOut, place: int) -> None:
        if isinstance(row, BadRow) and row.fault == "equal":
            self._num_pairs += 1
            self._num_equal += 1
            self._equal.append(place)

    @override
    def add(self, facts: GroupFacts) -> None:
        for pair in facts.judged.comparisons:
            self._num_pairs += 1
            if facts.keys[pair.chosen] == facts.keys[pair.rejected]:
                self._num_equal += 1
                self._equal.append(facts.place)
            elif shared_words(facts.words[pair.chosen], facts.words[pair.rejected]) >= _NEARLY:
                self._num_nearly += 1
                self._nearly.append(facts.place)

    @override
    def found(self) -> Iterator[Found]:
        if self._num_equal:
            yield Found(
                check="identical",
                severity="error",
                title=f"Pairs with the same completion on both sides: {self._num_equal:,}",
                count=self._num_equal,
                total=self._num_pairs,
                unit="pairs",
                why="Equal but for case and white space: nothing says what is better about the chosen one.",
                advice="Leave them out: `preftune clean --drop-identical`.",
                places=self._equal,
            )
        if self._num_nearly:
            yield Found(
                check="identical",
                severity=severity_of(self._num_nearly / self._num_pairs, warning=_WARNING),
                title=f"Pairs with nearly the same completion on both sides: {self._num_nearly:,}",
                count=self._num_nearly,
                total=self._num_pairs,
                unit="pairs",
                why="At least 95 % of the words are shared, so almost all of both log-probs cancels out, and the loss "
                "pushes hard on the few words that differ.",
                advice="Look at some. Where the difference is the point, as in arithmetic, all is well.",
                places=self._nearly,
                measures={"threshold": _NEARLY},
            )


def shared_words(first: Sequence[str], second: Sequence[str]) -> float:
    """Words in both, each as often as in both, per words of the longer one; 0 where lengths alone rule out 95 %.

    >>> shared_words("a b b".split(), "b a b".split())
    1.0
    """
    shorter, longer = sorted((len(first), len(second)))
    if shorter < _NEARLY * longer or not longer:
        return 0.0
    return (Counter(first) & Counter(second)).total() / longer
