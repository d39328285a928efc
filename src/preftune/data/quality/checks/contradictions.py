"""Check of judgements that contradict each other."""

from array import array
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from preftune.data.quality.check import Check, CheckRule, CheckSettings, Draft
from preftune.data.quality.facts import GroupFacts
from preftune.data.quality.keys import KeyArray, KeyLog, mixed, mixed_key

_BOTH_WAYS = CheckRule(
    title="Pairs of completions judged one way here and the other way there: {count:,}",
    unit="pairs",
    reason="At best the two labels cancel out. Otherwise chance decides what is learned.",
    advice="Keep the judgement of the majority: `preftune clean {remedy}`.",
    remedy="--resolve-contradictions majority",
    warning=0.0,
    error=0.01,
)
_THUMBS = replace(
    _BOTH_WAYS,
    title="Completions with thumbs up here and thumbs down there: {count:,}",
    unit="completions",
    reason="At best the two labels cancel out.",
)
_CYCLES = CheckRule(
    title="Cycles (A better than B, B than C, C than A): {count:,}",
    unit="pairs",
    reason="No scores can rank the completions of a cycle, so at least one of its labels is wrong.",
    advice="Have these prompts judged again, or leave their rows out.",
    warning=0.0,
    error=0.01,
)


@final
class Contradictions(Check):
    """Two completions of a prompt judged one way here and the other way there; longer cycles; thumbs up and down.

    Texts are the same if they differ in case and white space only. A cycle is a set of three or more completions of a
    prompt in which "better than" leads from each one back to itself, after pairs judged both ways are set aside.
    Severity: a warning, an error from 1 % of the pairs or completions: at best such labels cancel out.
    """

    name = "contradictions"
    about = "pairs judged both ways, and cycles"

    def __init__(self, settings: CheckSettings) -> None:  # noqa: ARG002
        self._columns = {name: array("Q") for name in ("prompt", "chosen", "rejected", "place")}
        self._thumbs = {True: KeyLog(), False: KeyLog()}

    def add(self, facts: GroupFacts) -> None:
        for pair in facts.pairs:
            chosen, rejected = facts.keys[pair.chosen], facts.keys[pair.rejected]
            if chosen != rejected:
                for name, value in zip(self._columns, (facts.prompt_key, chosen, rejected, facts.place), strict=True):
                    self._columns[name].append(value)
        for key, completion in zip(facts.keys, facts.group.completions, strict=True):
            if completion.desirable is not None:
                self._thumbs[completion.desirable].add(mixed_key(facts.prompt_key, key), facts.place)

    def drafts(self) -> Iterator[Draft]:
        prompts, chosen, rejected, places = (np.array(column, dtype=np.uint64) for column in self._columns.values())
        if len(prompts):
            num_pairs, is_turned = both_ways(prompts, chosen, rejected)
            if num_pairs:
                rows = np.unique(places[is_turned]).tolist()
                yield _BOTH_WAYS.draft(num_pairs, len(prompts), rows, measures={"rows_concerned": len(rows)})
            rest = ~is_turned
            num_cycles, is_in_cycle = cycles(prompts[rest], chosen[rest], rejected[rest])
            if num_cycles:
                yield self._cycles(num_cycles, places[rest][is_in_cycle], len(prompts))
        yield from self._thumb_drafts()

    def _cycles(self, count: int, places: KeyArray, total: int) -> Draft:
        return _CYCLES.draft(
            count,
            total,
            np.unique(places).tolist(),
            severity=_CYCLES.severity_of(len(places) / total),
            measures={"pairs_in_cycles": len(places)},
        )

    def _thumb_drafts(self) -> Iterator[Draft]:
        up, down = self._thumbs[True], self._thumbs[False]
        keys = np.intersect1d(up.keys, down.keys)
        if len(keys):
            places = np.concatenate([log.places[np.isin(log.keys, keys)] for log in (up, down)])
            yield _THUMBS.draft(len(keys), len(up) + len(down), np.unique(places).tolist())


def both_ways(prompts: KeyArray, chosen: KeyArray, rejected: KeyArray) -> tuple[int, NDArray[np.bool_]]:
    """Pairs of completions that are judged both ways.

    Args:
        prompts, chosen, rejected: Keys of the texts of each judgement. Shape: (judgement,).
    Returns:
        Number of such pairs, and for each judgement, True if it belongs to such a pair. Shape: (judgement,).

    >>> prompts, ones = np.ones(3, np.uint64), np.array([1, 2, 1], np.uint64)
    >>> both_ways(prompts, ones, np.array([2, 1, 3], np.uint64))
    (1, array([ True,  True, False]))
    """
    keys = mixed(prompts, np.minimum(chosen, rejected), np.maximum(chosen, rejected))
    _, index = np.unique(keys, return_inverse=True)
    forward = np.bincount(index, weights=chosen < rejected) if len(index) else np.zeros(0)
    backward = np.bincount(index, weights=chosen > rejected) if len(index) else np.zeros(0)
    turned = (forward > 0) & (backward > 0)
    return int(turned.sum()), turned[index]


def cycles(prompts: KeyArray, chosen: KeyArray, rejected: KeyArray) -> tuple[int, NDArray[np.bool_]]:
    """Cycles of three or more completions: the strongly connected components of "better than", by Tarjan's algorithm.

    Args:
        prompts, chosen, rejected: Keys of the texts of each judgement; no pair is judged both ways. Shape:
            (judgement,).
    Returns:
        Number of components, and for each judgement True if both its completions are in one. Shape: (judgement,).

    >>> prompts, ones = np.ones(3, np.uint64), np.array([1, 2, 3], np.uint64)
    >>> cycles(prompts, ones, np.array([2, 3, 1], np.uint64))
    (1, array([ True,  True,  True]))
    """
    if not len(prompts):
        return 0, np.zeros(0, dtype=bool)
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    ends = np.concatenate([mixed(prompts, chosen), mixed(prompts, rejected)])
    nodes, index = np.unique(ends, return_inverse=True)
    start, stop = np.split(index, 2)
    graph: Any = coo_matrix((np.ones(len(start), dtype=np.int8), (start, stop)), shape=(len(nodes), len(nodes)))
    _, labels = connected_components(graph, directed=True, connection="strong")
    sizes = np.bincount(labels)
    return int((sizes > 2).sum()), (labels[start] == labels[stop]) & (sizes[labels[start]] > 2)


CHECKS: tuple[type[Check], ...] = (Contradictions,)
