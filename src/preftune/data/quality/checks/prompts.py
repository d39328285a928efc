"""How many different prompts there are, and how different they are."""

from array import array
from collections import Counter
from collections.abc import Iterator
from typing import final

import numpy as np
from typing_extensions import override

from preftune.data.quality.check import Check, CheckSettings
from preftune.data.quality.facts import GroupFacts
from preftune.data.quality.finding import Found, Shown, severity_of
from preftune.data.quality.keys import KeyLog
from preftune.data.quality.neighbours import Shingles, cluster_alike, shingles_of
from preftune.data.quality.sample import Sample

__all__ = ["Prompts"]

_ALIKE = 0.6
_SAMPLE_SIZE = 50_000
_NUM_CLUSTERS = 5
_CROWDED = 0.05
_WARNING = 0.3


@final
class Prompts(Check):
    """Distinct prompts, how many of them have a near neighbour, and the biggest clusters of such.

    Prompts are the same but for case and white space. Two are neighbours if they share 60 % of their word pairs: one
    word of eight changed. In data of more than 50,000 distinct prompts a seeded sample of so many is compared.
    Severity: a warning where 30 % of the prompts have a neighbour, or where one prompt has 5 % of at least 100 rows.
    """

    def __init__(self, settings: CheckSettings) -> None:
        self._log = KeyLog()
        self._sample = Sample[tuple[int, Shingles]](_SAMPLE_SIZE, seed=settings.seed)

    @override
    def add(self, facts: GroupFacts) -> None:
        self._log.add(facts.prompt_key, facts.place)
        if self._sample.wants(facts.prompt_key):
            self._sample.add(facts.prompt_key, (facts.place, shingles_of(facts.prompt.split())))

    @override
    def found(self) -> Iterator[Found]:
        if not len(self._log):
            return
        yield self._found_distinct()
        yield from self._found_neighbours()

    def _found_distinct(self) -> Found:
        distinct, counts = np.unique(self._log.keys, return_counts=True)
        total, largest = len(self._log), int(counts.max())
        is_crowded = largest >= _CROWDED * total and total >= 100
        place = int(self._log.places[np.flatnonzero(self._log.keys == distinct[counts.argmax()])[0]])
        return Found(
            check="prompts",
            severity="warning" if is_crowded else "note",
            title=f"Distinct prompts: {len(distinct):,} of {total:,}; most rows of one prompt: {largest:,}",
            count=len(distinct),
            total=total,
            unit="prompts",
            why="Rows of one prompt are alike: many of them count as less than as many prompts, and one that has far "
            "more than others sets the direction.",
            advice="Keep fewer rows of a prompt: `preftune clean --cap-per-prompt N`." if is_crowded else "",
            examples=[Shown(place, f"{largest:,} rows")] if largest > 1 else [],
            measures={"distinct": len(distinct), "most_rows_of_a_prompt": largest},
        )

    def _found_neighbours(self) -> Iterator[Found]:
        items = [item for _, item in self._sample.items()]
        leaders = cluster_alike([(shingles,) for _, shingles in items], [_ALIKE])
        sizes = Counter(leaders.tolist())
        inside = [index for index, leader in enumerate(leaders.tolist()) if sizes[leader] > 1]
        if not inside:
            return
        biggest = sorted(sizes, key=lambda leader: (-sizes[leader], leader))[:_NUM_CLUSTERS]
        sampled = "" if self._sample.is_all else f" of a sample of {len(items):,}"
        severity = severity_of(len(inside) / len(items), warning=_WARNING)
        yield Found(
            check="prompts",
            severity=severity,
            title=f"Distinct prompts{sampled} nearly like another one: {len(inside):,}; in the biggest cluster: "
            f"{sizes[biggest[0]]:,}",
            count=len(inside),
            total=len(items),
            unit="prompts",
            why="Prompts made from a pattern teach the pattern. Split by prompt, near copies stand on both sides.",
            advice="Thin out the biggest clusters, and hold out whole clusters." if severity != "note" else "",
            places=array("Q", sorted(items[index][0] for index in inside)),
            examples=[
                Shown(items[leader][0], f"a cluster of {sizes[leader]:,}") for leader in biggest if sizes[leader] > 1
            ],
            measures={
                "threshold": _ALIKE,
                "prompts_compared": len(items),
                "clusters": sum(size > 1 for size in sizes.values()),
                "biggest_cluster": sizes[biggest[0]],
            },
        )
