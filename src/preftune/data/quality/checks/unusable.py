"""Rows that gave nothing to learn from."""

import re
from array import array
from collections.abc import Iterator
from typing import final

from typing_extensions import override

from preftune.data.quality.check import Check, CheckSettings
from preftune.data.quality.facts import GroupFacts
from preftune.data.quality.finding import NUM_EXAMPLES, Found, Shown
from preftune.data.rows import BadRow, LeftOut

__all__ = ["Unusable"]

_MOST_KINDS = 20
_OTHER = "other problems."


@final
class Unusable(Check):
    """Rows that no group can be made of, by problem. Those with equal or empty completions have checks of their own.

    Severity: error from the first row on, as training stops there unless it is told to skip such rows; a note for rows
    that the format leaves out by itself, such as ties. At most 20 kinds of problems are told apart.
    """

    def __init__(self, _: CheckSettings) -> None:
        self._bad: dict[str, array[int]] = {}
        self._left_out: dict[str, array[int]] = {}
        self._texts: dict[str, str] = {}
        self._num_rows = 0

    @override
    def add(self, facts: GroupFacts) -> None:
        self._num_rows += 1

    @override
    def add_unusable(self, row: BadRow | LeftOut, place: int) -> None:
        self._num_rows += 1
        if isinstance(row, LeftOut):
            self._note(self._left_out, row.reason, place)
        elif row.fault == "other":
            self._note(self._bad, row.problem, place)

    def _note(self, by_kind: "dict[str, array[int]]", problem: str, place: int) -> None:
        kind = re.sub(r"\d+", "#", problem)
        kind = kind if kind in by_kind or len(by_kind) < _MOST_KINDS else _OTHER
        by_kind.setdefault(kind, array("Q")).append(place)
        self._texts.setdefault(kind, problem if kind != _OTHER else _OTHER)

    @override
    def found(self) -> Iterator[Found]:
        for kind, places in self._bad.items():
            yield Found(
                check="unusable",
                severity="error",
                title=f"Rows that cannot be used: {len(places):,}. The first: {self._texts[kind]}",
                count=len(places),
                total=self._num_rows,
                unit="rows",
                why="Training stops at the first such row, or goes on without them where it is told to skip them.",
                advice="Correct the rows, or leave them out: `preftune clean --drop-unusable`.",
                places=places,
            )
        for kind, places in self._left_out.items():
            yield Found(
                check="unusable",
                severity="note",
                title=f"Rows left out ({self._texts[kind]}): {len(places):,}",
                count=len(places),
                total=self._num_rows,
                unit="rows",
                why="They say nothing that could be learned from, so that training passes over them.",
                advice="",
                examples=[Shown(place) for place in places[:NUM_EXAMPLES]],
            )
