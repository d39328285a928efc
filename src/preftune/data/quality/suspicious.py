"""Rows with which several things are wrong."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from preftune.data.quality.finding import Found, Shown

__all__ = ["find_suspicious"]

_FEWEST = 2
_NUM_SHOWN = 10


def find_suspicious(places: Mapping[str, Sequence[int]], num_rows: int) -> Iterator[Found]:
    """Rows that at least two checks blame, those with most to blame first.

    Severity: a note, as each of the checks has said by itself how bad it is.

    Args:
        places: Of each check the rows it blames; several times the same is once.
        num_rows: Of the data set.

    >>> [found] = find_suspicious({"empty": [1, 2], "margins": [2, 2, 3]}, 3)
    >>> found.count, found.examples
    (1, [Shown(place=2, note='empty, margins', text=None, like=None)])
    """
    names = sorted(places)
    blamed = [np.unique(np.asarray(places[name], dtype=np.uint64)) for name in names]
    if not blamed:
        return
    rows, counts = np.unique(np.concatenate(blamed), return_counts=True)
    rows, counts = rows[counts >= _FEWEST], counts[counts >= _FEWEST]
    if not len(rows):
        return
    worst = rows[np.argsort(-counts, kind="stable")]
    shown = [
        Shown(int(row), ", ".join(name for name, own in zip(names, blamed, strict=True) if np.isin(row, own)))
        for row in worst[:_NUM_SHOWN]
    ]
    yield Found(
        check="suspicious",
        severity="note",
        title=f"Rows that two checks or more name: {len(rows):,}",
        count=len(rows),
        total=num_rows,
        unit="rows",
        why="Rows with several faults are the likeliest to be wrong altogether.",
        advice="Read these first.",
        places=worst.tolist(),
        examples=shown,
    )
