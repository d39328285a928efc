"""Conditions on rows, such as `score_ratio>=2` or `lang=en`."""

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from preftune.errors import ConfigError

__all__ = ["COMPARISONS", "Condition", "finite_number"]

COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "!=": operator.ne,
    "=": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}
_CONDITION = re.compile(rf"\s*([^<>=!]+?)\s*({'|'.join(COMPARISONS)})\s*(.*?)\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Condition:
    """What a column must hold.

    Numbers are compared as numbers, all else as text; a column that is blank holds the text of nothing, which is
    neither greater nor less than anything. Truth values are `true` and `false`.

    Args:
        column: The file's own name of the column.
        comparison: One of >=, <=, !=, =, > and <.
        value: What the column is compared with.
    """

    column: str
    comparison: str
    value: str

    @staticmethod
    def parse(text: str) -> "Condition":
        """The condition that a text such as `score_ratio>=2` states.

        Raises:
            ConfigError: it states none, or compares by size with what is no number.

        >>> Condition.parse("lang = en")
        Condition(column='lang', comparison='=', value='en')
        """
        found = _CONDITION.fullmatch(text)
        if found is None:
            raise ConfigError(
                [f"where = {text!r}: must be a column, one of {' '.join(COMPARISONS)} and a value, such as lang=en."]
            )
        condition = Condition(*found.groups())
        if condition.by_size and finite_number(condition.value) is None:
            raise ConfigError(
                [f"where = {text!r}: {condition.value!r} is no finite number, so nothing is more or less."]
            )
        return condition

    @property
    def by_size(self) -> bool:
        """Whether it says how great a number must be."""
        return self.comparison not in ("=", "!=")

    def __str__(self) -> str:
        return f"{self.column}{self.comparison}{self.value}"


def finite_number(text: str) -> float | None:
    """The number that a text states, or None if it states none, NaN or infinity."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
