"""Settings of a point that are at an end of what was tried, so that better ones may lie beyond."""

from collections.abc import Iterator, Mapping, Sequence

from preftune.settings.setting import value_text
from preftune.settings.space import Dimension, Range, Setup, Value

__all__ = ["edge_texts"]

_NEAR = 0.05
"""Share of a searched range that counts as its end."""


def edge_texts(setup: Setup, over: Mapping[str, Sequence[Value]], space: Mapping[str, Dimension]) -> Iterator[str]:
    """A sentence for each number that is the lowest or highest that was tried.

    Args:
        setup: Of the point.
        over: Values of a grid.
        space: Of a search.

    >>> list(edge_texts({"beta": 0.03}, {"beta": [0.03, 0.1]}, {}))
    ['beta = 0.03 is the lowest that was tried: try lower ones, too.']
    """
    for name, value in setup.items():
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            continue
        end = _end(value, over.get(name, ()), space.get(name))
        if end is not None:
            further = "lower" if end == "lowest" else "higher"
            verb = "is the" if name in over else "is close to the"
            yield f"{name} = {value_text(value)} {verb} {end} that was tried: try {further} ones, too."


def _end(value: float, tried: Sequence[Value], dimension: Dimension | None) -> str | None:
    numbers = [item for item in tried if isinstance(item, (int, float)) and not isinstance(item, bool)]
    if isinstance(dimension, Range):
        place = dimension.place(value)
        return "lowest" if place <= _NEAR else "highest" if place >= 1 - _NEAR else None
    if len(numbers) < 2 or value not in (min(numbers), max(numbers)):
        return None
    return "lowest" if value == min(numbers) else "highest"
