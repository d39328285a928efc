"""The two sides of feedback: chosen and rejected."""

from collections.abc import Iterator
from typing import Literal

from preftune.data.quality.facts import GroupFacts

__all__ = ["Side", "sides_of"]

Side = Literal["chosen", "rejected"]


def sides_of(facts: GroupFacts) -> Iterator[tuple[Side, int]]:
    """Each completion's index with its side, once for each pair that it is in and for its thumb.

    Desirable completions count as chosen, undesirable ones as rejected.
    """
    for pair in facts.judged.comparisons:
        yield "chosen", pair.chosen
        yield "rejected", pair.rejected
    for index, completion in enumerate(facts.group.completions):
        if completion.desirable is not None:
            yield ("chosen" if completion.desirable else "rejected"), index
