"""Facts that cleaning rules need of every row: numbers, no texts."""

import math
from array import array
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from preftune.data.quality.facts import GroupFacts
from preftune.data.quality.keys import KeyArray, mixed_key


@dataclass(frozen=True, slots=True)
class RowTable:
    """All rows that became groups, in order; about 60 bytes each.

    Args:
        places: Number of each row, see `Places`. Shape: (row,).
        row_keys: Key of all that a duplicate repeats. Shape: (row,).
        prompt_keys: Key of the prompt. Shape: (row,).
        is_identical: True if the two completions of every pair are the same but for case and white space.
            Shape: (row,).
        gaps: Largest difference of two completions, by margin or score; NaN without either. Shape: (row,).
        length_ratios: Logarithm of words of chosen per words of rejected; NaN unless a row is one pair.
            Shape: (row,).
        judged_rows: Row index of each judgement (a pair or a thumb), rising. Shape: (judgement,).
        judged_keys: Key of the prompt and the completions judged. Shape: (judgement,).
        judged_ways: True if the completion with the smaller key wins, or the thumb is up. Shape: (judgement,).
    """

    places: KeyArray
    row_keys: KeyArray
    prompt_keys: KeyArray
    is_identical: NDArray[np.bool_]
    gaps: NDArray[np.float64]
    length_ratios: NDArray[np.float64]
    judged_rows: NDArray[np.int64]
    judged_keys: KeyArray
    judged_ways: NDArray[np.bool_]

    @property
    def num_rows(self) -> int:
        """Number of rows."""
        return len(self.places)


class RowTableBuilder:
    """Builds the table row by row."""

    def __init__(self) -> None:
        self._places, self._row_keys, self._prompt_keys = array("Q"), array("Q"), array("Q")
        self._identical = bytearray()
        self._gaps, self._length_ratios = array("d"), array("d")
        self._judged_rows, self._judged_keys, self._judged_ways = array("q"), array("Q"), bytearray()

    def add(self, facts: GroupFacts) -> None:
        """Add a row."""
        number, pairs = len(self._places), facts.pairs
        self._places.append(facts.place)
        self._row_keys.append(facts.row_key)
        self._prompt_keys.append(facts.prompt_key)
        self._identical.append(bool(pairs) and all(_is_same(facts, pair.chosen, pair.rejected) for pair in pairs))
        self._gaps.append(_widest_gap(facts))
        self._length_ratios.append(_length_ratio(facts))
        for pair in pairs:
            chosen, rejected = facts.keys[pair.chosen], facts.keys[pair.rejected]
            if chosen != rejected:
                key = mixed_key(facts.prompt_key, min(chosen, rejected), max(chosen, rejected))
                self._judge(number, key, chosen < rejected)
        for key, completion in zip(facts.keys, facts.group.completions, strict=True):
            if completion.desirable is not None:
                self._judge(number, mixed_key(facts.prompt_key, key), completion.desirable)

    def _judge(self, number: int, key: int, way: bool) -> None:
        self._judged_rows.append(number)
        self._judged_keys.append(key)
        self._judged_ways.append(way)

    def table(self) -> RowTable:
        """The table of the rows added so far."""
        return RowTable(
            places=np.array(self._places, dtype=np.uint64),
            row_keys=np.array(self._row_keys, dtype=np.uint64),
            prompt_keys=np.array(self._prompt_keys, dtype=np.uint64),
            is_identical=np.array(self._identical, dtype=np.bool_),
            gaps=np.array(self._gaps, dtype=np.float64),
            length_ratios=np.array(self._length_ratios, dtype=np.float64),
            judged_rows=np.array(self._judged_rows, dtype=np.int64),
            judged_keys=np.array(self._judged_keys, dtype=np.uint64),
            judged_ways=np.array(self._judged_ways, dtype=np.bool_),
        )


def _is_same(facts: GroupFacts, first: int, second: int) -> bool:
    return facts.keys[first] == facts.keys[second]


def _widest_gap(facts: GroupFacts) -> float:
    gaps = [abs(pair.margin) for pair in facts.pairs if pair.margin is not None]
    return max([*gaps, *([0.0] if facts.num_ties else [])], default=math.nan)


def _length_ratio(facts: GroupFacts) -> float:
    if len(facts.pairs) != 1:
        return math.nan
    [pair] = facts.pairs
    return math.log((facts.lengths[pair.chosen] + 1) / (facts.lengths[pair.rejected] + 1))
