"""How rows are laid out and which of them are wanted, as far as the user says."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from preftune.data.formats import Format, find_format, recognise
from preftune.data.formats.fields import is_blank, to_number
from preftune.data.rows import LeftOut, Row
from preftune.errors import DataError
from preftune.settings.data import COMPARISONS, Condition, finite_number

__all__ = ["Layout", "holds"]


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


@dataclass(frozen=True, slots=True)
class Layout:
    """How rows are laid out and which of them are wanted.

    Args:
        format: Name of the row layout; None: recognised by the columns.
        columns: The file's column by the name that the format knows, such as `{"chosen": "better"}`.
        extra_scores: Names of further scores, such as safety, which each row must have for its completions.
        where: What the file's columns must hold; rows in which they do not are left out.
    """

    format: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    extra_scores: Collection[str] = ()
    where: Sequence[Condition] = ()

    def format_of(self, first: Row) -> Format:
        """The format of a file, by its first good row.

        Raises:
            DataError: columns that fit no format, or not the one that is named; `columns` that are not there, or that
                the format does not read; `where` names a column that is not there.
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
        return found

    def prepare(self, row: Row) -> Row | LeftOut:
        """The row with its columns named as the format knows them, unless it is not wanted.

        >>> from preftune.groups import Origin
        >>> layout = Layout(columns={"chosen": "better"}, where=[Condition.parse("lang=en")])
        >>> dict(layout.prepare(Row(Origin("prefs", 1), {"better": "4", "lang": "en"})).fields)
        {'lang': 'en', 'chosen': '4'}
        >>> print(layout.prepare(Row(Origin("prefs", 2), {"better": "vier", "lang": "de"})))
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
