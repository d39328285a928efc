"""Accuracy on parts of the pairs: where a policy is right for a reason, and where by a shortcut."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from preftune.evaluation.pair_table import PairTable
from preftune.metrics.intervals import BoolArray, Bootstrap, FloatArray, Interval

__all__ = ["Slice", "SliceKind", "slice_pairs"]

SliceKind = Literal["length", "source", "margin"]
"""What parts the pairs: which completion is longer, where they come from, or how much better the chosen one is."""


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of the pairs.

    Args:
        kind: What the pairs are parted by.
        label: Which part it is, for people.
        num_pairs: How many there are.
        accuracy: Share of them whose chosen completion has the higher reward.
        margin: Mean margin of the implicit reward.
    """

    kind: SliceKind
    label: str
    num_pairs: int
    accuracy: Interval
    margin: Interval


def slice_pairs(table: PairTable, bootstrap: Bootstrap) -> tuple[Slice, ...]:
    """Parts of the pairs by length, by source where there are several, and by the data's margin where it is known.

    By length: chosen shorter or longer, by less or more than the median difference. By margin: thirds of the pairs.
    """
    found = []
    for kind, label, chosen in _parts(table):
        if chosen.any():
            part = table.only(chosen)
            accuracy = bootstrap.share(part.mean_of(part.is_right), part.num_prompts)
            margin = bootstrap.interval(part.mean_of(part.margin), part.num_prompts)
            found.append(Slice(kind, label, len(part), accuracy, margin))
    return tuple(found)


def _parts(table: PairTable) -> Iterator[tuple[SliceKind, str, BoolArray]]:
    for label, chosen in _by_length(table):
        yield "length", label, chosen
    sources = np.unique(table.sources)
    if len(sources) > 1:
        for source in sources:
            yield "source", str(source), table.sources == source
    if not np.isnan(table.data_margin).any():
        for label, chosen in _by_margin(table):
            yield "margin", label, chosen


def _by_length(table: PairTable) -> Iterator[tuple[str, BoolArray]]:
    difference = table.length_difference
    sizes = np.abs(difference[difference != 0])
    middle = int(np.median(sizes)) if len(sizes) else 1
    small = "1" if middle == 1 else f"1-{middle}"
    yield f"chosen more than {middle} tokens shorter", difference < -middle
    yield f"chosen {small} tokens shorter", (difference < 0) & (difference >= -middle)
    yield "equally long", difference == 0
    yield f"chosen {small} tokens longer", (difference > 0) & (difference <= middle)
    yield f"chosen more than {middle} tokens longer", difference > middle


def _by_margin(table: PairTable) -> Iterator[tuple[str, BoolArray]]:
    cuts = np.unique(np.quantile(table.data_margin, [1 / 3, 2 / 3]))
    places = np.digitize(table.data_margin, cuts)
    for place in range(len(cuts) + 1):
        yield _range_text(cuts, place), places == place


def _range_text(cuts: FloatArray, place: int) -> str:
    """
    >>> [_range_text(np.array([1.0, 2.5]), place) for place in range(3)]
    ['below 1', '1 to 2.5', '2.5 and more']
    """
    if place == 0:
        return f"below {cuts[0]:.3g}"
    return f"{cuts[place - 1]:.3g} to {cuts[place]:.3g}" if place < len(cuts) else f"{cuts[-1]:.3g} and more"
