"""Rows to prompt groups: from files, folders, the hub, or rows in memory."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Any, Literal

from typing_extensions import override

from preftune.data.layout import Layout
from preftune.data.presets import find_preset
from preftune.data.progress import track
from preftune.data.rows import BadRow, LeftOut, Row, RowStream
from preftune.data.sources import OpenRows, parts_of
from preftune.errors import ConfigError, DataError
from preftune.groups import Origin, PromptGroup
from preftune.settings.data import Condition

__all__ = ["GroupStream", "LoadedGroups", "OnBadRow", "Part", "groups_from_rows", "iter_groups", "load_groups"]


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of one layout: a file, a data set or rows in memory.

    Args:
        source: Index of the source that it belongs to.
        name: Of the source.
        open: Gives the rows.
        layout: How they are laid out.
        can_reopen: Whether `open` may be called more than once.
    """

    source: int
    name: str
    open: OpenRows
    layout: Layout
    can_reopen: bool = True


class GroupStream(Iterator[PromptGroup | BadRow | LeftOut]):
    """Groups as they are read, and between them the rows that gave none.

    Args:
        parts: What to read, in order.
        show_progress: Whether to show a progress bar.
    """

    def __init__(self, parts: Iterable[Part], *, show_progress: bool = False) -> None:
        self.num_rows = 0
        """Rows read so far."""
        self.source = 0
        """Index of the source that the last item is from."""
        self._show_progress = show_progress
        self._items = self._read(parts)

    @override
    def __next__(self) -> PromptGroup | BadRow | LeftOut:
        return next(self._items)

    def _read(self, parts: Iterable[Part]) -> Iterator[PromptGroup | BadRow | LeftOut]:
        for part in parts:
            self.source, num_before = part.source, self.num_rows
            rows = iter(track(part.open(), f"Reading {part.name}", total=None, show=self._show_progress))
            bad_rows, first = _up_to_first_good(rows)
            if first is None:
                self.num_rows += len(bad_rows)
                yield from bad_rows
                continue
            reading = part.layout.format_of(first).read
            stream = RowStream(
                chain(bad_rows, [first], rows), part.open if part.can_reopen else None, part.layout.prepare
            )
            for item in reading(stream, part.layout.extra_scores):
                self.num_rows = num_before + stream.num_rows
                yield item
            self.num_rows = num_before + stream.num_rows


def _up_to_first_good(rows: Iterator[Row | BadRow]) -> tuple[list[BadRow], Row | None]:
    bad_rows: list[BadRow] = []
    for row in rows:
        if isinstance(row, Row):
            return bad_rows, row
        bad_rows.append(row)
    return bad_rows, None


OnBadRow = Literal["error", "skip"]
"""Stop at the first row that cannot be used, or leave such rows out and list them."""


@dataclass(frozen=True, slots=True)
class LoadedGroups:
    """What was read.

    Args:
        groups: In the order of the rows; one per row that could be used, but for formats whose rows make up trees.
        num_rows: Rows read, those left out included.
        skipped: Rows that cannot be used, each with its problem.
        left_out: Rows that are not wanted or say nothing that could be learned from, each with the reason.
        num_by_source: How many of the groups each source gave, in the order of the sources.
    """

    groups: list[PromptGroup]
    num_rows: int
    skipped: tuple[BadRow, ...]
    left_out: tuple[LeftOut, ...] = ()
    num_by_source: tuple[int, ...] = ()


def iter_groups(
    source: str | Sequence[str],
    *,
    split: str | None = None,
    format: str | None = None,  # noqa: A002
    columns: Mapping[str, str] | None = None,
    extra_scores: Collection[str] = (),
    where: Collection[str] = (),
    show_progress: bool = False,
) -> GroupStream:
    """Read prompt groups one by one, in memory that does not grow with the data.

    Args:
        source: A file, a folder, a preset or the name of a data set on the hub, as in `read_rows`; or several.
        split: The split of data sets that have splits.
        format: Name of the row layout. Recognised by the columns of each file's first good row if not given.
        columns: The file's column by the name that the format knows, such as `{"chosen": "better"}`.
        extra_scores: Names of further scores, such as safety, which each row must have for its completions.
        where: What the file's columns must hold, such as `score_ratio>=2`; rows in which they do not are left out.
        show_progress: Whether to show a progress bar.
    Returns:
        A stream of groups in order of the sources and their rows. Between them stand the rows that gave none: a
        `BadRow` for one that cannot be used, a `LeftOut` for one that is not wanted. A `.json` file is read as a whole,
        and so is one with message trees whose rows are mixed.
    Raises:
        ConfigError: a condition that is none.
        DataError: a source that cannot be found. Reading the stream raises it for a source that cannot be read and
            for columns that fit no format.

    >>> list(iter_groups("no-such-file.jsonl"))
    Traceback (most recent call last):
    ...
    preftune.errors.DataError: no-such-file.jsonl: there is no such file or folder. ...
    """
    sources = _listed(source)
    layout = _layout(format, columns, extra_scores, where)
    parts = (
        Part(index, name, rows, _layout_of(name, layout))
        for index, name in enumerate(sources)
        for rows in parts_of(name, split=split)
    )
    return GroupStream(parts, show_progress=show_progress)


def load_groups(
    source: str | Sequence[str],
    *,
    split: str | None = None,
    format: str | None = None,  # noqa: A002
    columns: Mapping[str, str] | None = None,
    extra_scores: Collection[str] = (),
    where: Collection[str] = (),
    on_bad_row: OnBadRow = "error",
    show_progress: bool = False,
) -> LoadedGroups:
    """Read prompt groups from one source or several.

    Args:
        source, split, format, columns, extra_scores, where, show_progress: As in `iter_groups`.
        on_bad_row: What to do about a row that cannot be used.
    Returns:
        The groups in order of the sources and their rows.
    Raises:
        ConfigError: a condition that is none.
        DataError: a source that cannot be read, columns that fit no format, a row that cannot be used, or none that
            can.
    """
    sources = _listed(source)
    _check_on_bad_row(on_bad_row)
    stream = iter_groups(
        sources,
        split=split,
        format=format,
        columns=columns,
        extra_scores=extra_scores,
        where=where,
        show_progress=show_progress,
    )
    return _loaded(stream, sources, on_bad_row)


def groups_from_rows(
    rows: Iterable[Mapping[str, Any]],
    *,
    source: str = "rows",
    format: str | None = None,  # noqa: A002
    columns: Mapping[str, str] | None = None,
    extra_scores: Collection[str] = (),
    where: Collection[str] = (),
    on_bad_row: OnBadRow = "error",
    show_progress: bool = False,
) -> LoadedGroups:
    """Make prompt groups of rows in memory, such as a list of dicts or a `datasets.Dataset`.

    Args:
        rows: Each a mapping from column to value.
        source: What to call them in origins and errors.
        format, columns, extra_scores, where, on_bad_row, show_progress: As in `load_groups`.
    Returns:
        The groups in order; origins count rows from 1.
    Raises:
        ConfigError, DataError: as in `load_groups`.

    >>> groups_from_rows([{"prompt": "2+2=", "chosen": "4", "rejected": "5"}]).groups[0].prompt
    '2+2='
    """
    _check_on_bad_row(on_bad_row)
    layout = _layout(format, columns, extra_scores, where)
    # What is its own iterator can be read only once.
    part = Part(0, source, partial(_located, rows, source), layout, can_reopen=not isinstance(rows, Iterator))
    return _loaded(GroupStream([part], show_progress=show_progress), [source], on_bad_row)


def _listed(source: str | Sequence[str]) -> list[str]:
    sources = [source] if isinstance(source, str) else list(source)
    if not sources:
        raise DataError("there is no source to read. Name at least one file, folder or data set.")
    return sources


def _layout(
    format: str | None,  # noqa: A002
    columns: Mapping[str, str] | None,
    extra_scores: Collection[str],
    where: Collection[str],
) -> Layout:
    return Layout(format, columns or {}, tuple(extra_scores), tuple(map(Condition.parse, where)))


def _layout_of(source: str, layout: Layout) -> Layout:
    """The layout, with the format of the preset where the source is one and no other is named."""
    preset = find_preset(source)
    return layout if preset is None or layout.format is not None else replace(layout, format=preset.format)


def _check_on_bad_row(choice: OnBadRow) -> None:
    if choice not in ("error", "skip"):
        raise ConfigError([f"on_bad_row = {choice!r}: must be 'error' or 'skip'."])


def _located(rows: Iterable[Mapping[str, Any]], source: str) -> Iterator[Row | BadRow]:
    for number, fields in enumerate(rows, start=1):
        origin = Origin(source, number)
        # Callers without a type checker may hand over anything.
        given: object = fields
        if isinstance(given, Mapping):
            yield Row(origin, given)
        else:
            yield BadRow(origin, f"the row is of type {type(given).__name__}. It must map columns to values.")


def _loaded(stream: GroupStream, sources: Sequence[str], on_bad_row: OnBadRow) -> LoadedGroups:
    groups: list[PromptGroup] = []
    skipped: list[BadRow] = []
    left_out: list[LeftOut] = []
    num_by_source = [0] * len(sources)
    for item in stream:
        if isinstance(item, PromptGroup):
            groups.append(item)
            num_by_source[stream.source] += 1
        elif isinstance(item, LeftOut):
            left_out.append(item)
        elif on_bad_row == "error":
            raise DataError(f"{item} Fix the row, or skip such rows with --on-bad-row skip.")
        else:
            skipped.append(item)
    if not groups:
        raise _nothing_loaded(", ".join(sources), stream.num_rows, skipped, left_out)
    return LoadedGroups(groups, stream.num_rows, tuple(skipped), tuple(left_out), tuple(num_by_source))


def _nothing_loaded(source: str, num_rows: int, skipped: Sequence[BadRow], left_out: Sequence[LeftOut]) -> DataError:
    if not num_rows:
        return DataError(
            f"{source}: there are no rows. Nothing can be learned from it. Check that it is the right one."
        )
    if skipped:
        return DataError(
            f"{source}: all {num_rows} rows were skipped, so nothing is left to learn from. "
            f"The first: {skipped[0]} Correct the data, or check --format and --columns."
        )
    return DataError(
        f"{source}: all {num_rows} rows were left out, so nothing is left to learn from. The first: {left_out[0]}. "
        "Check --where and --format."
    )
