"""Rows that gave no group, as checks of the data see them."""

from preftune.data.quality.facts import UnusableRow
from preftune.data.rows import BadRow, LeftOut

__all__ = ["unusable_row"]


def unusable_row(row: BadRow | LeftOut) -> UnusableRow:
    """The row with its kind, by the words in which formats refuse it: `tests/cli/test_row_source.py` holds them to it.

    >>> from preftune.groups import Origin
    >>> unusable_row(LeftOut(Origin("prefs.jsonl", 3), "a tie")).kind
    'left out'
    """
    if isinstance(row, LeftOut):
        return UnusableRow(row.origin, row.reason, "left out")
    if "are equal, so" in row.problem:
        return UnusableRow(row.origin, row.problem, "equal")
    if "an empty completion" in row.problem or "completion is empty" in row.problem:
        return UnusableRow(row.origin, row.problem, "empty")
    return UnusableRow(row.origin, row.problem)
