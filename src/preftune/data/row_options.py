"""Options for reading rows: their format, their columns and conditions on them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict, Unpack

from preftune.data.formats.fields import is_blank, to_number
from preftune.data.rows import Row
from preftune.settings.data import COMPARISONS, Condition, finite_number


class RowArguments(TypedDict, total=False):
    """Keyword arguments of the functions that read rows.

    Args:
        format: Name of the format. Recognised by the columns of each file's first good row if not given.
        columns: The file's column by the name in the format, such as `{"chosen": "better"}`.
        extra_scores: Names of auxiliary scores, such as safety, which each row must have for its completions.
        where: Conditions on the file's columns, such as `score_ratio>=2`; other rows are left out.
    """

    format: str | None
    columns: Mapping[str, str] | None
    extra_scores: Collection[str]
    where: Collection[str]


@dataclass(frozen=True, slots=True)
class RowOptions:
    """The format of rows and the conditions on them: `RowArguments` with parsed conditions."""

    format: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    extra_scores: Collection[str] = ()
    where: Sequence[Condition] = ()

    @staticmethod
    def of(**given: Unpack[RowArguments]) -> "RowOptions":
        """The options that keyword arguments give."""
        return RowOptions(
            given.get("format"),
            given.get("columns") or {},
            tuple(given.get("extra_scores", ())),
            tuple(map(Condition.parse, given.get("where", ()))),
        )


def holds(condition: Condition, row: Row) -> bool:
    """True if the row meets the condition.

    Raises:
        DataError: the column is compared by size but does not hold a number.
    """
    found: Any = row.fields.get(condition.column)
    if not condition.by_size:
        return _equals(found, condition.value) == (condition.comparison == "=")
    if is_blank(found):
        return False
    return COMPARISONS[condition.comparison](to_number(row, condition.column, found), finite_number(condition.value))


def _equals(found: Any, wanted: str) -> bool:
    if found is None:
        return not wanted
    if isinstance(found, bool):
        return str(found).lower() == wanted.lower()
    if isinstance(found, int | float):
        return found == finite_number(wanted)
    return str(found).strip() == wanted
