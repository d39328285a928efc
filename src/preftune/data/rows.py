"""Rows: their fields before a format has read them, unusable rows and rows left out."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from preftune.errors import DataError, DataFault
from preftune.groups import Origin, PromptGroup


@dataclass(frozen=True, slots=True)
class Row:
    """The fields of one row, by column.

    >>> Row(Origin("prefs.jsonl", 3), {"prompt": "2+2="}).error("prompt", "is not a question.")
    DataError("prefs.jsonl:3: field 'prompt' is not a question.")
    """

    origin: Origin
    fields: Mapping[str, Any] = field(hash=False)

    def peek(self, name: str) -> Any:
        """The value of a field, or None, without counting as reading the column."""
        return dict.get(self.fields, name) if isinstance(self.fields, dict) else self.fields.get(name)

    def error(self, name: str, problem: str, *, fault: DataFault = "other") -> DataError:
        """The error that names this row, a field and what is wrong with it."""
        return DataError(f"{self.origin}: field '{name}' {problem}", fault=fault)


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be used.

    >>> print(BadRow(Origin("prefs.jsonl", 3), "the line is not UTF-8."))
    prefs.jsonl:3: the line is not UTF-8.
    """

    origin: Origin
    problem: str
    fault: DataFault = "other"

    @staticmethod
    def of(row: Row, error: DataError) -> "BadRow":
        """A row that raised an error. The row's origin is removed from the message."""
        return BadRow(row.origin, str(error).removeprefix(f"{row.origin}: "), error.fault)

    def __str__(self) -> str:
        return f"{self.origin}: {self.problem}"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A valid row that a condition excludes, or that carries no training signal, such as a tie.

    Args:
        reason: Reason, in a few words that are the same for all such rows.

    >>> print(LeftOut(Origin("prefs.jsonl", 3), "not lang=en"))
    prefs.jsonl:3: not lang=en
    """

    origin: Origin
    reason: str

    def __str__(self) -> str:
        return f"{self.origin}: {self.reason}"


DataRow = PromptGroup | BadRow | LeftOut
"""A row after its format has read it: a group, or the reason why it gives none."""


class RowStream:
    """The rows of one file or data set. They can be iterated again if the source can be reopened.

    Args:
        opened: The rows; the first iteration consumes them.
        reopen: Opens the same rows again; None if they can be read only once.
        prepare: Applied to each row before the format reads it; may raise DataError.

    >>> rows = [Row(Origin("sums", 1), {"prompt": "2+2="}), Row(Origin("sums", 2), {"prompt": "1+2="})]
    >>> stream = RowStream(iter(rows), lambda: iter(rows), lambda row: row)
    >>> [len(list(stream)) for _ in range(2)], stream.num_rows
    ([2, 2], 2)
    """

    def __init__(
        self,
        opened: Iterator[Row | BadRow],
        reopen: Callable[[], Iterator[Row | BadRow]] | None,
        prepare: Callable[[Row], Row | LeftOut],
    ) -> None:
        self._opened: Iterator[Row | BadRow] | None = opened
        self._reopen = reopen
        self._prepare = prepare
        self.num_rows = 0
        """Rows read in this iteration so far."""

    @property
    def can_reopen(self) -> bool:
        """True if it can be iterated more than once."""
        return self._reopen is not None

    def __iter__(self) -> Iterator[Row | BadRow | LeftOut]:
        rows, self._opened = self._opened, None
        if rows is None:
            assert self._reopen is not None, "rows that can be read only once were read twice"
            rows = self._reopen()
        self.num_rows = 0
        for row in rows:
            self.num_rows += 1
            yield row if isinstance(row, BadRow) else self._prepared(row)

    def _prepared(self, row: Row) -> Row | BadRow | LeftOut:
        try:
            return self._prepare(row)
        except DataError as error:
            return BadRow.of(row, error)
