"""Rows to prompt groups: from files, folders, the hub, or rows in memory."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Any, Literal, Unpack

from typing_extensions import override

from preftune.data.presets import find_preset
from preftune.data.progress import track
from preftune.data.row_options import RowArguments, RowOptions
from preftune.data.row_reading import RowReading, has_format, notes_of
from preftune.data.rows import BadRow, DataRow, LeftOut, Row, RowStream
from preftune.data.sources import OpenRows, parts_of
from preftune.data.tables import located
from preftune.errors import ConfigError, DataError
from preftune.groups import PromptGroup

_MOST_ROWS_OF_NO_FORMAT = 100
"""Number of rows at the start of a file that may fit no format before the file is refused."""

OnBadRow = Literal["error", "skip"]
"""Count unusable rows in an error, or skip such rows and list them."""


@dataclass(frozen=True, slots=True)
class LoadedGroups:
    """Prompt groups read from one source or several.

    Args:
        groups: In the order of the rows; one per usable row, except for formats whose rows form trees.
        num_rows: Rows read, including those left out.
        skipped: Unusable rows, each with its problem.
        left_out: Valid rows that a condition excludes or that carry no training signal, each with the reason.
        num_by_source: Number of groups of each source, in the order of the sources.
        notes: Sentences on choices that the data made, and the columns that are not read, by source.
    """

    groups: list[PromptGroup]
    num_rows: int
    skipped: tuple[BadRow, ...]
    left_out: tuple[LeftOut, ...] = ()
    num_by_source: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of one format: a file, a data set or rows in memory. `source` is the index of the source `name`."""

    source: int
    name: str
    open: OpenRows
    options: RowOptions
    can_reopen: bool = True


class GroupStream(Iterator[DataRow]):
    """An iterator over groups, and in their place over the rows that give none."""

    def __init__(self, parts: Iterable[Part], *, show_progress: bool = False) -> None:
        self.num_rows = 0
        """Rows read so far."""
        self.source = 0
        """Index of the source of the last item."""
        self._show_progress = show_progress
        self._items = self._read(parts)
        self._readings: list[tuple[str, RowReading]] = []

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on choices that the data made, and the columns that nothing has read so far, by source."""
        sources: dict[str, list[RowReading]] = {}
        for source, reading in self._readings:
            sources.setdefault(source, []).append(reading)
        return tuple(f"{source}: {note}" for source, readings in sources.items() for note in notes_of(readings))

    @override
    def __next__(self) -> DataRow:
        return next(self._items)

    def _read(self, parts: Iterable[Part]) -> Iterator[DataRow]:
        for part in parts:
            self.source, num_before = part.source, self.num_rows
            rows = iter(track(part.open(), f"Reading {part.name}", total=None, show=self._show_progress))
            head, first = _head(rows, part.options)
            if first is None:
                self.num_rows += len(head)
                yield from (row for row in head if isinstance(row, BadRow))
                continue
            opened: Iterable[Row | BadRow] = chain(head, rows)
            reopen = part.open
            if not part.can_reopen:
                opened = list(opened)
                reopen = partial(iter, opened)
            reading = RowReading.of(part.options, first, reopen)
            self._readings.append((part.name, reading))
            stream = RowStream(iter(opened), reopen, reading.prepare)
            for item in reading.format.read(stream, part.options.extra_scores):
                self.num_rows = num_before + stream.num_rows
                yield item
            self.num_rows = num_before + stream.num_rows


def iter_groups(
    source: str | Sequence[str],
    *,
    split: str | None = None,
    show_progress: bool = False,
    **options: Unpack[RowArguments],
) -> GroupStream:
    """Read prompt groups one by one, in memory that does not grow with the data.

    Args:
        source: A file, a folder, a preset or the name of a data set on the hub, as in `read_rows`; or several.
        split: The split of data sets that have splits.
        options: `format`, `columns`, `extra_scores` and `where`, as in `RowArguments`.
    Returns:
        A stream of groups in order of the sources and their rows. Rows that gave no group appear between them: a
        `BadRow` for an unusable row, a `LeftOut` for an excluded one. A `.json` file is read into memory completely,
        and so is a file of message trees whose rows are interleaved.
    Raises:
        ConfigError: an invalid condition.
        DataError: a source that cannot be found. Reading the stream raises it for a source that cannot be read and
            for columns that fit no format.

    >>> list(iter_groups("no-such-file.jsonl"))
    Traceback (most recent call last):
    ...
    preftune.errors.DataError: no-such-file.jsonl: there is no such file or folder. ...
    """
    row_options = RowOptions.of(**options)
    parts = (
        Part(index, name, rows, _with_format_of_preset(name, row_options))
        for index, name in enumerate(_listed(source))
        for rows in parts_of(name, split=split)
    )
    return GroupStream(parts, show_progress=show_progress)


def load_groups(
    source: str | Sequence[str],
    *,
    split: str | None = None,
    on_bad_row: OnBadRow = "error",
    show_progress: bool = False,
    **options: Unpack[RowArguments],
) -> LoadedGroups:
    """Read prompt groups from one source or several.

    Args:
        source, split, show_progress, options: As in `iter_groups`.
        on_bad_row: Treatment of an unusable row.
    Returns:
        The groups in order of the sources and their rows.
    Raises:
        ConfigError: an invalid condition.
        DataError: a source that cannot be read, columns that fit no format, an unusable row, or no usable row.
    """
    sources = _listed(source)
    _check_on_bad_row(on_bad_row)
    stream = iter_groups(sources, split=split, show_progress=show_progress, **options)
    return _loaded(stream, sources, on_bad_row)


def groups_from_rows(
    rows: Iterable[Mapping[str, Any]],
    *,
    source: str = "rows",
    on_bad_row: OnBadRow = "error",
    show_progress: bool = False,
    **options: Unpack[RowArguments],
) -> LoadedGroups:
    """Make prompt groups from rows in memory, such as a list of dicts, a `datasets.Dataset` or a pandas frame.

    Args:
        rows: Each a mapping from column to value.
        source: Name of the rows in origins and errors.
        on_bad_row, show_progress, options: As in `load_groups`.
    Returns:
        The groups in order; origins count rows from 1.
    Raises:
        ConfigError, DataError: as in `load_groups`.

    >>> groups_from_rows([{"prompt": "2+2=", "chosen": "4", "rejected": "5"}]).groups[0].prompt
    '2+2='
    """
    _check_on_bad_row(on_bad_row)
    can_reopen = not isinstance(rows, Iterator)  # an iterator can be read only once
    part = Part(0, source, partial(located, rows, source), RowOptions.of(**options), can_reopen=can_reopen)
    return _loaded(GroupStream([part], show_progress=show_progress), [source], on_bad_row)


def _head(rows: Iterator[Row | BadRow], options: RowOptions) -> tuple[list[Row | BadRow], Row | None]:
    """The rows up to the first whose columns fit a format, and that row.

    Where none of the first rows fits, the row is the first good one: its columns are those that the error names.
    """
    head: list[Row | BadRow] = []
    first: Row | None = None
    num_good = 0
    for row in rows:
        head.append(row)
        if isinstance(row, Row):
            if has_format(options, row):
                return head, row
            first = first or row
            num_good += 1
            if num_good == _MOST_ROWS_OF_NO_FORMAT:
                break
    return head, first


def _listed(source: str | Sequence[str]) -> list[str]:
    sources = [source] if isinstance(source, str) else list(source)
    if not sources:
        raise DataError("there is no source to read. Name at least one file, folder or data set.")
    return sources


def _with_format_of_preset(source: str, options: RowOptions) -> RowOptions:
    preset = find_preset(source)
    return options if preset is None or options.format is not None else replace(options, format=preset.format)


def _check_on_bad_row(choice: OnBadRow) -> None:
    if choice not in ("error", "skip"):
        raise ConfigError([f"on_bad_row = {choice!r}: must be 'error' or 'skip'."])


def _loaded(stream: GroupStream, sources: Sequence[str], on_bad_row: OnBadRow) -> LoadedGroups:
    groups: list[PromptGroup] = []
    bad: list[BadRow] = []
    left_out: list[LeftOut] = []
    num_by_source = [0] * len(sources)
    for item in stream:
        if isinstance(item, PromptGroup):
            groups.append(item)
            num_by_source[stream.source] += 1
        elif isinstance(item, LeftOut):
            left_out.append(item)
        else:
            bad.append(item)
    if bad and on_bad_row == "error":
        raise unusable_rows(bad, stream.num_rows)
    if not groups:
        raise _nothing_loaded(", ".join(sources), stream.num_rows, bad, left_out)
    return LoadedGroups(groups, stream.num_rows, tuple(bad), tuple(left_out), tuple(num_by_source), stream.notes)


_MOST_NAMED = 5
"""Unusable rows that an error shows."""


def unusable_rows(bad: Sequence[BadRow], num_rows: int) -> DataError:
    """The error that counts all unusable rows and shows the first ones.

    >>> from preftune.groups import Origin
    >>> print(unusable_rows([BadRow(Origin("rows", row), "the completion is empty.") for row in (2, 5)], 9))
    2 of 9 rows cannot be used:
      rows:2: the completion is empty.
      rows:5: the completion is empty.
    Fix these rows, or skip such rows with --on-bad-row skip.
    """
    if len(bad) == 1:
        return DataError(f"{bad[0]} Fix the row, or skip such rows with --on-bad-row skip.", fault=bad[0].fault)
    shown = [f"  {row}" for row in bad[:_MOST_NAMED]]
    further = [f"  and {len(bad) - _MOST_NAMED:,} more"] if len(bad) > _MOST_NAMED else []
    lines = [f"{len(bad):,} of {num_rows:,} rows cannot be used:", *shown, *further]
    return DataError("\n".join([*lines, "Fix these rows, or skip such rows with --on-bad-row skip."]))


def _nothing_loaded(source: str, num_rows: int, skipped: Sequence[BadRow], left_out: Sequence[LeftOut]) -> DataError:
    if not num_rows:
        return DataError(
            f"{source}: there are no rows. Nothing can be learned from it. Check that it is the right one."
        )
    if skipped:
        return DataError(
            f"{source}: none of the {num_rows} rows can be used, so nothing is left to learn from. "
            f"The first: {skipped[0]} Correct the data, or check --format and --columns."
        )
    return DataError(
        f"{source}: all {num_rows} rows were left out, so nothing is left to learn from. The first: {left_out[0]}. "
        "Check --where and --format."
    )
