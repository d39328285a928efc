"""The space that a search draws points from."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import get_args

from preftune.settings.point import Setup
from preftune.settings.swept import Value, is_taken, kind_of, parse_values

__all__ = ["Choice", "Dimension", "Range", "corners", "fitting", "parse_dimension"]


@dataclass(frozen=True, slots=True)
class Range:
    """All numbers between two.

    Args:
        low, high: Both ends, which may be drawn as well.
        log: Whether the logarithm is drawn evenly.
        whole: Whether only whole numbers are drawn.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"{self.low:g}:{self.high:g}: the first must be below the second.")
        if self.log and self.low <= 0:
            raise ValueError(f"{self.low:g}:{self.high:g}:log: must begin above 0.")

    @property
    def ends(self) -> tuple[Value, ...]:
        """Both, of their type."""
        return (int(self.low), int(self.high)) if self.whole else (self.low, self.high)

    def place(self, value: float) -> float:
        """Where a value lies, from 0 to 1.

        >>> Range(0.01, 1, log=True).place(0.1)
        0.5
        """
        scale = math.log if self.log else float
        return (scale(value) - scale(self.low)) / (scale(self.high) - scale(self.low))

    def __str__(self) -> str:
        return f"{self.low:g}:{self.high:g}" + (":log" if self.log else "")


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some values."""

    values: tuple[Value, ...]

    @property
    def ends(self) -> tuple[Value, ...]:
        """All of them."""
        return self.values


Dimension = Range | Choice


def parse_dimension(name: str, text: str) -> Dimension:
    """A range, `LOW:HIGH` or `LOW:HIGH:log`, or choices between commas.

    Raises:
        ValueError: an unknown name, or a text that is neither.

    >>> parse_dimension("beta", "0.01:1:log")
    Range(low=0.01, high=1.0, log=True, whole=False)
    >>> parse_dimension("method", "dpo,ipo")
    Choice(values=('dpo', 'ipo'))
    """
    kind = kind_of(name)
    kinds = (kind, *get_args(kind))
    ends, is_log = text.removesuffix(":log"), text.endswith(":log")
    if ":" not in ends or not ({int, float} & {part for part in kinds if isinstance(part, type)}):
        return Choice(parse_values(name, text))
    low, _, high = ends.partition(":")
    try:
        found = Range(float(low), float(high), log=is_log, whole=float not in kinds)
    except ValueError as error:
        expected = str(error) if str(error).startswith(f"{low}:") or "must" in str(error) else "is no range."
        raise ValueError(f"{name} = {text}: {expected} Write it as {name}=LOW:HIGH or {name}=LOW:HIGH:log.") from None
    if found.whole and not (found.low.is_integer() and found.high.is_integer()):
        raise ValueError(f"{name} = {text}: takes whole numbers only.")
    return found


def corners(space: Mapping[str, Dimension], method: str) -> Iterator[Setup]:
    """The ends of all ranges with all choices, as far as the method of each takes them.

    Args:
        space: By name.
        method: Of the base, where none is searched.
    """
    seen = []
    for values in product(*(dimension.ends for dimension in space.values())):
        setup = fitting(dict(zip(space, values, strict=True)), space, method)
        if setup not in seen:
            seen.append(setup)
            yield setup


def fitting(setup: Setup, space: Mapping[str, Dimension], method: str) -> Setup:
    """The settings without options that the point's method does not take.

    Only where methods are searched: there an option belongs to those that take it. Elsewhere it is a mistake, which is
    for the settings of the run to tell.

    >>> space = {"method": Choice(("dpo", "ipo")), "beta": Range(0.1, 1)}
    >>> fitting({"method": "ipo", "beta": 0.1}, space, "dpo")
    {'method': 'ipo'}
    """
    if "method" not in space:
        return setup
    own = str(setup.get("method", method))
    methods = [str(value) for value in space["method"].ends]
    return {
        name: value
        for name, value in setup.items()
        if is_taken(name, own) or not any(is_taken(name, other) for other in methods)
    }
