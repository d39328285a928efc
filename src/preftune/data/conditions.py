"""The rows that a condition selects."""

from typing import Any

from preftune.data.formats.fields import is_blank, to_number
from preftune.data.rows import Row
from preftune.settings.data import COMPARISONS, Condition, finite_number

__all__ = ["holds"]


def holds(condition: Condition, row: Row) -> bool:
    """Whether the row is wanted.

    Raises:
        DataError: the column holds no number but is compared by size.
    """
    found: Any = row.fields.get(condition.column)
    if condition.by_size:
        if is_blank(found):
            return False
        return COMPARISONS[condition.comparison](
            to_number(row, condition.column, found), finite_number(condition.value)
        )
    return (_same(found, condition.value)) == (condition.comparison == "=")


def _same(found: Any, wanted: str) -> bool:
    if found is None:
        return not wanted
    if isinstance(found, bool):
        return str(found).lower() == wanted.lower()
    if isinstance(found, int | float):
        return found == finite_number(wanted)
    return str(found).strip() == wanted
