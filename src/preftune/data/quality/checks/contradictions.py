"""Labels that contradict each other."""

from array import array
from collections.abc import Iterator
from typing import final

import numpy as np
from typing_extensions import override

from preftune.data.quality.check import Check, CheckSettings
from preftune.data.quality.contradiction import both_ways, find_cycles
from preftune.data.quality.facts import GroupFacts
from preftune.data.quality.finding import Found, severity_of
from preftune.data.quality.keys import KeyLog, mixed_key

__all__ = ["Contradictions"]

_ERROR = 0.01


@final
class Contradictions(Check):
    """The same two completions of the same prompt, judged one way here and the other way there; and longer cycles.

    Texts are the same but for case and white space. A cycle is a set of three or more completions of a prompt where
    following "better than" from any of them leads back to it, after pairs judged both ways are set aside. Thumbs
    contradict each other where a completion of a prompt is both desirable and undesirable. Severity: a warning, an
    error from 1 % of the pairs or completions: such labels cancel out at best.
    """

    def __init__(self, _: CheckSettings) -> None:
        self._columns = {name: array("Q") for name in ("prompt", "chosen", "rejected", "place")}
        self._thumbs = {True: KeyLog(), False: KeyLog()}

    @override
    def add(self, facts: GroupFacts) -> None:
        for pair in facts.judged.comparisons:
            chosen, rejected = facts.keys[pair.chosen], facts.keys[pair.rejected]
            if chosen != rejected:
                for name, value in zip(self._columns, (facts.prompt_key, chosen, rejected, facts.place), strict=True):
                    self._columns[name].append(value)
        for key, completion in zip(facts.keys, facts.group.completions, strict=True):
            if completion.desirable is not None:
                self._thumbs[completion.desirable].add(mixed_key(facts.prompt_key, key), facts.place)

    @override
    def found(self) -> Iterator[Found]:
        prompts, chosen, rejected, places = (np.array(column, dtype=np.uint64) for column in self._columns.values())
        if len(prompts):
            turned = both_ways(prompts, chosen, rejected)
            if turned.num_pairs:
                yield self._found_both_ways(turned.num_pairs, places[turned.edges], len(prompts))
            cycles = find_cycles(prompts[~turned.edges], chosen[~turned.edges], rejected[~turned.edges])
            if cycles.num_cycles:
                yield self._found_cycles(cycles.num_cycles, places[~turned.edges][cycles.edges], len(prompts))
        yield from self._found_thumbs()

    def _found_both_ways(self, count: int, places: "np.ndarray[tuple[int], np.dtype[np.uint64]]", total: int) -> Found:
        ordered = np.unique(places).tolist()
        return Found(
            check="contradictions",
            severity=severity_of(count / total, warning=0.0, error=_ERROR),
            title=f"Pairs of completions judged one way here and the other way there: {count:,}",
            count=count,
            total=total,
            unit="pairs",
            why="The two labels cancel out at best. Where they do not, chance decides what is learned.",
            advice="Keep what most judges say: `preftune clean --resolve-contradictions majority`.",
            places=ordered,
            measures={"rows_concerned": len(ordered)},
        )

    def _found_cycles(self, count: int, places: "np.ndarray[tuple[int], np.dtype[np.uint64]]", total: int) -> Found:
        ordered = np.unique(places).tolist()
        return Found(
            check="contradictions",
            severity=severity_of(len(places) / total, warning=0.0, error=_ERROR),
            title=f"Cycles (A better than B, B than C, C than A): {count:,}",
            count=count,
            total=total,
            unit="pairs",
            why="No scores can be given to the completions of a cycle, so at least one of its labels is wrong.",
            advice="Ask again about these prompts, or leave their rows out.",
            places=ordered,
            measures={"pairs_in_cycles": len(places)},
        )

    def _found_thumbs(self) -> Iterator[Found]:
        up, down = self._thumbs[True], self._thumbs[False]
        keys = np.intersect1d(up.keys, down.keys)
        if not len(keys):
            return
        places = np.unique(np.concatenate([log.places[np.isin(log.keys, keys)] for log in (up, down)])).tolist()
        total = len(up) + len(down)
        yield Found(
            check="contradictions",
            severity=severity_of(len(keys) / total, warning=0.0, error=_ERROR),
            title=f"Completions with thumbs up here and thumbs down there: {len(keys):,}",
            count=len(keys),
            total=total,
            unit="completions",
            why="The two labels cancel out at best.",
            advice="Keep what most judges say: `preftune clean --resolve-contradictions majority`.",
            places=places,
        )
