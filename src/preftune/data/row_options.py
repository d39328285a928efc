"""Options for reading rows: their format, their columns and conditions on them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict, Unpack

from preftune.data.formats import Format, find_format, recognise
from preftune.data.formats.fields import is_blank, to_number
from preftune.data.rows import LeftOut, Row
from preftune.errors import DataError
from preftune.settings.data import COMPARISONS, Condition, finite_number

__all__ = ["RowArguments", "RowOptions", "holds"]


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

    def format_of(self, first: Row) -> Format:
        """The format of a file, by its first good row.

        Raises:
            DataError: columns that fit no format, or not the named one; `columns` that are missing or that the format
                does not read; `where` names a missing column; `extra_scores` of a format without such columns.
        """
        source, fields = first.origin.source, first.fields
        self._check_columns(source, fields)
        columns = list(self._renamed(fields))
        if self.format is None:
            found = recognise(columns, source=source)
        else:
            found = find_format(self.format, columns, source=source)
        known = found.columns(self.extra_scores)
        unknown = [name for name in self.columns if name not in known]
        if unknown:
            raise DataError(
                f"{source}: --columns maps to {', '.join(map(repr, unknown))}, which the format '{found.name}' "
                f"does not read. It reads {', '.join(sorted(known))}. Correct --columns."
            )
        if self.extra_scores and not found.takes_extra_scores:
            raise DataError(
                f"{source}: the format '{found.name}' has no columns for auxiliary scores, but --auxiliary asks for "
                f"{', '.join(self.extra_scores)}. Convert the data to pairs or lists with such columns (`preftune "
                "convert`), or leave --auxiliary out."
            )
        return found

    def prepare(self, row: Row) -> Row | LeftOut:
        """The row with its columns renamed as the format reads them, or the condition that excludes it.

        >>> from preftune.groups import Origin
        >>> options = RowOptions(columns={"chosen": "better"}, where=[Condition.parse("lang=en")])
        >>> dict(options.prepare(Row(Origin("prefs", 1), {"better": "4", "lang": "en"})).fields)
        {'lang': 'en', 'chosen': '4'}
        >>> print(options.prepare(Row(Origin("prefs", 2), {"better": "vier", "lang": "de"})))
        prefs:2: not lang=en
        """
        for condition in self.where:
            if not holds(condition, row):
                return LeftOut(row.origin, f"not {condition}")
        return Row(row.origin, self._renamed(row.fields)) if self.columns else row

    def _check_columns(self, source: str, fields: Mapping[str, Any]) -> None:
        wanted = {"--columns": self.columns.values(), "--where": [condition.column for condition in self.where]}
        for flag, names in wanted.items():
            missing = [name for name in names if name not in fields]
            if missing:
                raise DataError(
                    f"{source}: {flag} names {', '.join(map(repr, missing))}, but the columns are: "
                    f"{', '.join(fields)}. Correct {flag}."
                )

    def _renamed(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        taken = {*self.columns, *self.columns.values()}
        kept = {name: value for name, value in fields.items() if name not in taken}
        return kept | {new: fields[old] for new, old in self.columns.items() if old in fields}


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
