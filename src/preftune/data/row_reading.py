"""The reading of one file: its format, the columns that stand for others, and the columns that nothing reads."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from preftune.data.formats.columns import ColumnLog, check_refused, prompt_columns
from preftune.data.formats.format import Format
from preftune.data.formats.serialised import parsed, serialised_columns
from preftune.data.formats.table import FORMATS, find_format, recognise
from preftune.data.row_options import RowOptions, holds
from preftune.data.rows import BadRow, LeftOut, Row
from preftune.errors import DataError

_MOST_COLUMNS = 100


@dataclass(frozen=True, slots=True)
class RowReading:
    """The way that the rows of one file are read.

    Args:
        options: The format and columns asked for, and the column that was found to be the prompt.
        serialised: Columns that hold a list or an object as text.
        notes: A sentence on each choice that the data made.
        log: Columns that are there, and those that are read.
    """

    format: Format
    options: RowOptions
    serialised: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
    log: ColumnLog = field(default_factory=ColumnLog)

    @staticmethod
    def of(options: RowOptions, first: Row, reopen: Callable[[], Iterable[Row | BadRow]]) -> "RowReading":
        """The reading of a file, by its first good row.

        Args:
            reopen: Opens the rows again, to see if a column holds lists or objects as text in all of them.
        Raises:
            DataError: columns that fit no format, or not the named one; `columns` that are missing or that the format
                does not read; `where` names a missing column; `extra_scores` of a format without such columns; several
                columns that could be the prompt.
        """
        _check_columns(options, first)
        found, options, notes = _format_of(options, first)
        _check_reads(options, found, first.origin.source)
        conditions = [condition.column for condition in options.where]
        reading = RowReading(found, options, notes=notes, log=ColumnLog(conditions))
        return reading._with_serialised(first, reopen)

    def prepare(self, row: Row) -> Row | LeftOut:
        """The row with its columns as the format reads them, or the condition that excludes it.

        Raises:
            DataError: a column that changes the meaning of the row and cannot be read; a column that could be the
                prompt, in a row whose prompt would otherwise be guessed.
        """
        selected = self._selected(row)
        if isinstance(selected, LeftOut):
            return selected
        check_refused(selected)
        if self.serialised:
            selected = Row(row.origin, {name: self._structure(name, item) for name, item in selected.fields.items()})
        if self.options.format is None:
            _check_prompt(self.format, selected, self.format.columns(self.options.extra_scores))
        return self.log.watch(selected)

    def _selected(self, row: Row) -> Row | LeftOut:
        for condition in self.options.where:
            if not holds(condition, row):
                return LeftOut(row.origin, f"not {condition}")
        return _renamed(self.options, row)

    def _structure(self, name: str, value: Any) -> Any:
        if name not in self.serialised or not isinstance(value, str):
            return value
        found = parsed(value)
        return value if found is None else found

    def _with_serialised(self, first: Row, reopen: Callable[[], Iterable[Row | BadRow]]) -> "RowReading":
        def rows() -> Iterator[Row]:
            for row in reopen():
                if isinstance(row, Row) and isinstance(selected := self._selected(row), Row):
                    yield selected

        texts = self.format.columns(self.options.extra_scores) - set(self.format.structures)
        columns = dict(serialised_columns(_renamed(self.options, first), rows(), texts, self.format.structures))
        read = [name for name, other in columns.items() if other is None]
        notes = [f"the texts of {_quoted(read)} are JSON or Python lists and objects, and are read as such"] * bool(
            read
        )
        notes += [
            f"'{name}' holds lists or objects as text in some rows, but not in {other.origin}, so that it is read as "
            "text in all of them"
            for name, other in columns.items()
            if other is not None
        ]
        return replace(self, serialised=frozenset(read), notes=(*self.notes, *notes))


def has_format(options: RowOptions, row: Row) -> bool:
    """True if the columns of a row fit the format asked for, or any format where none was asked for."""
    fields = _renamed(options, row).fields
    return any(
        candidate.fits(fields) for candidate in FORMATS if options.format is None or candidate.name == options.format
    )


def notes_of(readings: Iterable[RowReading]) -> Iterator[str]:
    """Notes on the reading of a source, which may have several files."""
    unread: dict[str, str] = {}
    notes: dict[str, None] = {}
    for reading in readings:
        notes.update(dict.fromkeys(reading.notes))
        unread = {**reading.log.unread(), **unread}
    yield from notes
    if unread:
        more = f", and {len(unread) - _MOST_COLUMNS:,} more" if len(unread) > _MOST_COLUMNS else ""
        listed = ", ".join(f"{name!r} ({guess})" for name, guess in list(unread.items())[:_MOST_COLUMNS])
        yield f"columns that are not read: {listed}{more}"


def _format_of(options: RowOptions, first: Row) -> tuple[Format, RowOptions, tuple[str, ...]]:
    """The format, and the options with the column that is the prompt where the format would guess one."""
    source, row = first.origin.source, _with_conversations(_renamed(options, first))
    if options.format is not None:
        return find_format(options.format, list(row.fields), source=source), options, ()
    found = recognise(list(row.fields), source=source)
    known = found.columns(options.extra_scores)
    named = [name for name, told_by in prompt_columns(row.fields, known) if told_by == "name"]
    if len(named) != 1 or not _guesses_prompt(found, row) or _is_repeated(row, named[0]):
        _check_prompt(found, row, known)
        return found, options, ()
    with_prompt = replace(options, columns={**options.columns, "prompt": named[0]})
    with_prompt_found = recognise(list(_renamed(with_prompt, first).fields), source=source)
    if with_prompt_found is found:
        _check_prompt(found, row, known)
    return with_prompt_found, with_prompt, (f"the prompt is read from the column '{named[0]}'",)


def _with_conversations(row: Row) -> Row:
    """The row with texts that are lists or objects in JSON or Python parsed."""
    known = {name: parsed(value) for name, value in row.fields.items() if isinstance(value, str)}
    return Row(row.origin, {**row.fields, **{name: value for name, value in known.items() if value is not None}})


def _guesses_prompt(found: Format, row: Row) -> bool:
    return found.guessed_prompt is not None and not found.guessed_prompt.is_marked(row.fields)


def _is_repeated(row: Row, name: str) -> bool:
    """True if both answers begin with the text of a column, so that it would appear twice as a separate prompt."""
    value = row.fields[name]
    answers = (row.fields.get("chosen"), row.fields.get("rejected"))
    return isinstance(value, str) and all(isinstance(answer, str) and answer.startswith(value) for answer in answers)


def _check_prompt(found: Format, row: Row, known: frozenset[str]) -> None:
    """Raise an error if the format would guess the prompt although a column could hold it."""
    if found.guessed_prompt is None:
        return
    names = [name for name, _ in prompt_columns(row.fields, known)]
    if names and not found.guessed_prompt.is_marked(row.fields):
        ways = " or ".join(f"--columns prompt={name}{found.guessed_prompt.further}" for name in names)
        raise DataError(
            f"{row.origin}: the prompt may stand in {_quoted(names)}, which the format '{found.name}' does not read: "
            f"it would take the first words as the prompt. Name the column with {ways} (in Python, rename it to "
            f"'prompt'), or give --format {found.name} to leave it out."
        )


def _check_columns(options: RowOptions, first: Row) -> None:
    wanted = {"--columns": options.columns.values(), "--where": [condition.column for condition in options.where]}
    for flag, names in wanted.items():
        missing = [name for name in names if name not in first.fields]
        if missing:
            raise DataError(
                f"{first.origin.source}: {flag} names {_quoted(missing)}, but the columns are: "
                f"{', '.join(first.fields)}. Correct {flag}."
            )


def _check_reads(options: RowOptions, found: Format, source: str) -> None:
    known = found.columns(options.extra_scores)
    unknown = [name for name in options.columns if name not in known]
    if unknown:
        raise DataError(
            f"{source}: --columns maps to {_quoted(unknown)}, which the format '{found.name}' does not read. It reads "
            f"{', '.join(sorted(known))}. Correct --columns."
        )
    if options.extra_scores and not found.takes_extra_scores:
        raise DataError(
            f"{source}: the format '{found.name}' has no columns for auxiliary scores, but --auxiliary asks for "
            f"{', '.join(options.extra_scores)}. Convert the data to pairs or lists with such columns (`preftune "
            "convert`), or leave --auxiliary out."
        )


def _renamed(options: RowOptions, row: Row) -> Row:
    """The row with its columns named as the format reads them.

    >>> from preftune.groups import Origin
    >>> row = Row(Origin("prefs", 1), {"better": "4", "lang": "en", "chosen": "of another meaning"})
    >>> dict(_renamed(RowOptions(columns={"chosen": "better"}), row).fields)
    {'lang': 'en', 'chosen': '4'}
    """
    if not options.columns:
        return row
    fields: Mapping[str, Any] = row.fields
    taken = {*options.columns, *options.columns.values()}
    kept = {name: value for name, value in fields.items() if name not in taken}
    return Row(row.origin, kept | {new: fields[old] for new, old in options.columns.items() if old in fields})


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))
