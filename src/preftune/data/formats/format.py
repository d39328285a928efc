"""A format: the columns of a row, and how rows with them become prompt groups."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from preftune.data.formats.chat_columns import CHAT_COLUMNS, with_chat_columns
from preftune.data.formats.completions import WEIGHT, with_weight
from preftune.data.rows import BadRow, DataRow, LeftOut, Row, RowStream
from preftune.errors import DataError
from preftune.groups import PromptGroup

FormatReader = Callable[[RowStream, Collection[str]], Iterator[DataRow]]
"""Turns the rows of a file into groups, with auxiliary scores of these names. Other items are passed on in order."""


def each_scored_row(read: Callable[[Row, Collection[str]], PromptGroup | LeftOut]) -> FormatReader:
    """A reader that makes one group of each row, with auxiliary scores, and with the weight of the row.

    `read` raises DataError for a row that it cannot use: a field that is missing or of a wrong type, an empty
    completion, a pair of equal completions. The reader yields a `BadRow` for it.
    """

    def read_rows(rows: RowStream, extra_scores: Collection[str]) -> Iterator[DataRow]:
        for row in rows:
            if not isinstance(row, Row):
                yield row
                continue
            try:
                found = read(row, extra_scores)
                yield with_weight(row, with_chat_columns(row, found)) if isinstance(found, PromptGroup) else found
            except DataError as error:
                yield BadRow.of(row, error)

    return read_rows


def each_row(read: Callable[[Row], PromptGroup | LeftOut]) -> FormatReader:
    """A reader that makes one group of each row, without auxiliary scores."""
    return each_scored_row(lambda row, _: read(row))


def without_scores(read: Callable[[RowStream], Iterator[DataRow]]) -> FormatReader:
    """A reader of all rows of a file, without auxiliary scores."""
    return lambda rows, _: read(rows)


@dataclass(frozen=True, slots=True)
class GuessedPrompt:
    """The prompt of a format without a column for it.

    Args:
        is_marked: True if the fields of a row tell where the prompt ends, so that nothing is guessed.
        further: Further columns to map where the prompt is a column after all, as in `--columns`.
    """

    is_marked: Callable[[Mapping[str, Any]], bool]
    further: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """A format of rows.

    Args:
        required: Required columns. With several sets, any one of them suffices.
        optional: Further columns that are read.
        extra: Columns of an auxiliary score, with `{}` for its name.
        nested_extra: Auxiliary scores are fields of the objects in a required column.
        structures: Columns that hold lists or objects and never plain text.
        guessed_prompt: For a format without a column for the prompt.
        takes_row_columns: Each row is read by itself, with its weight and the columns that a chat template is given.
    """

    name: str
    about: str
    required: tuple[tuple[str, ...], ...]
    read: FormatReader
    optional: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    nested_extra: bool = False
    structures: tuple[str, ...] = ()
    guessed_prompt: GuessedPrompt | None = None
    takes_row_columns: bool = True

    @property
    def takes_extra_scores(self) -> bool:
        """True if completions can have auxiliary scores."""
        return bool(self.extra) or self.nested_extra

    def columns(self, extra_scores: Collection[str] = ()) -> frozenset[str]:
        """All columns that are read, including those of auxiliary scores with these names."""
        extra = (column.format(name) for column in self.extra for name in extra_scores)
        shared = (*CHAT_COLUMNS, WEIGHT) if self.takes_row_columns else ()
        return frozenset(self.optional).union(*self.required, extra, shared)

    def fits(self, columns: Collection[str]) -> bool:
        """True if the required columns are among `columns`."""
        return any(set(names) <= set(columns) for names in self.required)

    def __str__(self) -> str:
        return f"{self.name} needs {'; or '.join(', '.join(names) for names in self.required)}"
