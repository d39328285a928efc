"""Rows to prompt groups: from files, folders, the hub, or rows in memory."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from preftune.data.formats import Format, find_format, recognise
from preftune.data.progress import track
from preftune.data.rows import BadRow, Row
from preftune.data.sources import read_rows
from preftune.errors import ConfigError, DataError
from preftune.groups import Origin, PromptGroup

__all__ = ["LoadedGroups", "OnBadRow", "groups_from_rows", "load_groups"]

OnBadRow = Literal["error", "skip"]
"""Stop at the first row that cannot be used, or leave such rows out and list them."""


@dataclass(frozen=True, slots=True)
class LoadedGroups:
    """What was read.

    Args:
        groups: One per row that could be used, in order.
        num_rows: Rows read, those left out included.
        skipped: Rows left out, each with its problem.
    """

    groups: list[PromptGroup]
    num_rows: int
    skipped: tuple[BadRow, ...]


def load_groups(
    source: str | Sequence[str],
    *,
    split: str | None = None,
    format: str | None = None,  # noqa: A002
    columns: Mapping[str, str] | None = None,
    on_bad_row: OnBadRow = "error",
    show_progress: bool = False,
) -> LoadedGroups:
    """Read prompt groups from one source or several.

    Args:
        source: A file, a folder or the name of a data set on the hub, as in `read_rows`; or several of them.
        split: The split of a data set that has splits.
        format: Name of the row layout. Recognised by the columns of each source's first good row if not given.
        columns: The file's column by the name that the format knows, such as `{"chosen": "better"}`.
        on_bad_row: What to do about a row that cannot be used.
        show_progress: Whether to show a progress bar.
    Returns:
        The groups in order of the sources and their rows.
    Raises:
        DataError: a source that cannot be read, columns that fit no format, a row that cannot be used, or none that
            can.
    """
    sources = [source] if isinstance(source, str) else list(source)
    if not sources:
        raise DataError("there is no source to read. Name at least one file, folder or data set.")
    collection = _Collection(_on_bad_row(on_bad_row))
    layout = _Layout(format, columns or {})
    for name in sources:
        rows = track(read_rows(name, split=split), f"Reading {name}", total=None, show=show_progress)
        collection.add(rows, layout)
    return collection.loaded(", ".join(sources))


def groups_from_rows(
    rows: Iterable[Mapping[str, Any]],
    *,
    source: str = "rows",
    format: str | None = None,  # noqa: A002
    columns: Mapping[str, str] | None = None,
    on_bad_row: OnBadRow = "error",
    show_progress: bool = False,
) -> LoadedGroups:
    """Make prompt groups of rows in memory, such as a list of dicts or a `datasets.Dataset`.

    Args:
        rows: Each a mapping from column to value.
        source: What to call them in origins and errors.
        format, columns, on_bad_row, show_progress: As in `load_groups`.
    Returns:
        The groups in order; origins count rows from 1.
    Raises:
        DataError: as in `load_groups`.

    >>> groups_from_rows([{"prompt": "2+2=", "chosen": "4", "rejected": "5"}]).groups[0].prompt
    '2+2='
    """
    collection = _Collection(_on_bad_row(on_bad_row))
    located = track(_located(rows, source), f"Reading {source}", total=None, show=show_progress)
    collection.add(located, _Layout(format, columns or {}))
    if not collection.groups and not collection.skipped:
        raise DataError(f"{source}: there are no rows. Nothing can be learned from it. Check that it is the right one.")
    return collection.loaded(source)


def _on_bad_row(choice: OnBadRow) -> OnBadRow:
    if choice not in ("error", "skip"):
        raise ConfigError([f"on_bad_row = {choice!r}: must be 'error' or 'skip'."])
    return choice


def _located(rows: Iterable[Mapping[str, Any]], source: str) -> Iterator[Row | BadRow]:
    for number, fields in enumerate(rows, start=1):
        origin = Origin(source, number)
        # Callers without a type checker may hand over anything.
        given: object = fields
        if isinstance(given, Mapping):
            yield Row(origin, given)
        else:
            yield BadRow(origin, f"the row is of type {type(given).__name__}. It must map columns to values.")


class _Layout:
    """How rows are laid out: known of each file from its first good row on."""

    def __init__(self, name: str | None, columns: Mapping[str, str]) -> None:
        self._name = name
        self._columns = columns
        self._formats: dict[str, Format] = {}

    def format_of(self, row: Row) -> Format:
        source = row.origin.source
        if source not in self._formats:
            self._formats[source] = self._recognised(row.fields, source)
        return self._formats[source]

    def renamed(self, row: Row) -> Row:
        return Row(row.origin, self._renamed(row.fields)) if self._columns else row

    def _recognised(self, fields: Mapping[str, Any], source: str) -> Format:
        missing = [name for name in self._columns.values() if name not in fields]
        if missing:
            raise DataError(
                f"{source}: --columns names {', '.join(map(repr, missing))}, but the columns are: "
                f"{', '.join(fields)}. Correct --columns."
            )
        columns = list(self._renamed(fields))
        if self._name is None:
            found = recognise(columns, source=source)
        else:
            found = find_format(self._name, columns, source=source)
        unknown = [name for name in self._columns if name not in found.columns]
        if unknown:
            raise DataError(
                f"{source}: --columns maps to {', '.join(map(repr, unknown))}, which the format '{found.name}' "
                f"does not read. It reads {', '.join(sorted(found.columns))}. Correct --columns."
            )
        return found

    def _renamed(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        taken = {*self._columns, *self._columns.values()}
        kept = {name: value for name, value in fields.items() if name not in taken}
        return kept | {new: fields[old] for new, old in self._columns.items() if old in fields}


@dataclass
class _Collection:
    """Groups and bad rows so far."""

    on_bad_row: OnBadRow
    groups: list[PromptGroup] = field(default_factory=list)
    skipped: list[BadRow] = field(default_factory=list)

    def add(self, rows: Iterable[Row | BadRow], layout: _Layout) -> None:
        for row in rows:
            if isinstance(row, BadRow):
                self._leave_out(row)
                continue
            read = layout.format_of(row).read
            try:
                self.groups.append(read(layout.renamed(row)))
            except DataError as error:
                self._leave_out(BadRow(row.origin, str(error).removeprefix(f"{row.origin}: ")))

    def _leave_out(self, row: BadRow) -> None:
        if self.on_bad_row == "error":
            raise DataError(f"{row} Fix the row, or skip such rows with --on-bad-row skip.")
        self.skipped.append(row)

    def loaded(self, source: str) -> LoadedGroups:
        if not self.groups:
            raise DataError(
                f"{source}: all {len(self.skipped)} rows were skipped, so nothing is left to learn from. "
                f"The first: {self.skipped[0]} Correct the data, or check --format and --columns."
            )
        return LoadedGroups(self.groups, len(self.groups) + len(self.skipped), tuple(self.skipped))
