"""Rows that say nearly what another row says."""

from collections.abc import Iterator
from typing import final

import numpy as np
from typing_extensions import override

from preftune.data.quality.check import Check, CheckSettings
from preftune.data.quality.facts import GroupFacts
from preftune.data.quality.finding import NUM_EXAMPLES, Found, Shown, severity_of
from preftune.data.quality.neighbours import Shingles, cluster_alike, shingles_of
from preftune.data.quality.sample import Sample

__all__ = ["NearDuplicates"]

_PROMPT_ALIKE, _COMPLETION_ALIKE = 0.6, 0.8
_SAMPLE_SIZE = 50_000
_WARNING = 0.02


@final
class NearDuplicates(Check):
    """Distinct rows whose prompt shares 60 % of its word pairs with that of another row, and whose completions 80 %.

    Completions are compared side by side: what is chosen with what is chosen there (in lists: the best), the rest with
    the rest; so rows that contradict each other are not alike. Prompts are shorter, so that a changed word is more. Of
    groups of such rows all but one count. In data of more than 50,000 distinct rows a seeded sample of so many is
    compared, and the numbers are those of the sample. Severity: warning from 2 %: less is common where people edit a
    draft. No error: edited rows may be wanted.
    """

    def __init__(self, settings: CheckSettings) -> None:
        self._sample = Sample[tuple[int, tuple[Shingles, ...]]](_SAMPLE_SIZE, seed=settings.seed)

    @override
    def add(self, facts: GroupFacts) -> None:
        if self._sample.wants(facts.row_key):
            good = _best(facts)
            rest = [word for index, words in enumerate(facts.words) if index != good for word in words]
            parts = (facts.prompt.split(), [] if good is None else facts.words[good], rest)
            self._sample.add(facts.row_key, (facts.place, tuple(map(shingles_of, parts))))

    @override
    def found(self) -> Iterator[Found]:
        items = [item for _, item in self._sample.items()]
        leaders = cluster_alike([parts for _, parts in items], [_PROMPT_ALIKE, _COMPLETION_ALIKE, _COMPLETION_ALIKE])
        late = np.flatnonzero(leaders != np.arange(len(leaders)))
        if not len(late):
            return
        pairs = sorted((items[index][0], items[leaders[index]][0]) for index in late.tolist())
        sampled = "" if self._sample.is_all else f" of a sample of {len(items):,}"
        yield Found(
            check="near-duplicates",
            severity=severity_of(len(late) / len(items), warning=_WARNING),
            title=f"Rows{sampled} nearly like another row: {len(late):,}",
            count=len(late),
            total=len(items),
            unit="rows",
            why="They count nearly twice. Where one is held out, training has nearly seen it.",
            advice="Look at them: keep one of each where they are copies with a word changed.",
            places=[place for place, _ in pairs],
            examples=[Shown(place, like=other) for place, other in pairs[:NUM_EXAMPLES]],
            measures={
                "prompt_threshold": _PROMPT_ALIKE,
                "completion_threshold": _COMPLETION_ALIKE,
                "rows_compared": len(items),
            },
        )


def _best(facts: GroupFacts) -> int | None:
    """The completion that is better than others; None of an undesirable one alone."""
    if facts.judged.comparisons:
        return facts.judged.comparisons[0].chosen
    return None if facts.group.completions[0].desirable is False else 0
