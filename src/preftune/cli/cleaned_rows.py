"""The two passes of `preftune clean`: one to decide, one to write."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from preftune.cli.row_source import RowSource
from preftune.data.quality import UnusableRow, facts_of
from preftune.data.quality.cleaning import Decision, RowTable, RowTableBuilder
from preftune.data.quality.places import Places
from preftune.data.rows import BadRow, Row
from preftune.data.sources import read_rows
from preftune.errors import DataError
from preftune.groups import PromptGroup

__all__ = ["Survey", "survey", "write_kept"]


@dataclass(frozen=True, slots=True)
class Survey:
    """What rules need to know of the data.

    Args:
        table: The rows that can be used.
        places: Numbers of all rows.
        unusable: Of rows that are to be left out because they cannot be used, by place, the rule and the reason.
        passed_over: Places of rows that the format leaves out; they stay as they are.
    """

    table: RowTable
    places: Places
    unusable: dict[int, tuple[str, str]]
    passed_over: frozenset[int]


def survey(source: RowSource, *, drop_unusable: bool, drop_identical: bool) -> Survey:
    """Read all rows once.

    Args:
        source: What to read.
        drop_unusable, drop_identical: Whether rows that cannot be used, or whose completions are equal, may be there.
    Raises:
        DataError: such a row, though it may not be there.
    """
    builder, places = RowTableBuilder(), Places()
    unusable: dict[int, tuple[str, str]] = {}
    passed_over: set[int] = set()
    for row in source.read("Reading"):
        place = places.of(row.origin)
        if isinstance(row, PromptGroup):
            builder.add(facts_of(row, place))
        elif row.kind == "left out":
            passed_over.add(place)
        elif row.kind == "equal" and drop_identical:
            unusable[place] = ("drop-identical", row.problem)
        elif drop_unusable:
            unusable[place] = ("drop-unusable", row.problem)
        else:
            raise _unasked(row)
    return Survey(builder.table(), places, unusable, frozenset(passed_over))


def _unasked(row: UnusableRow) -> DataError:
    flag = "--drop-identical" if row.kind == "equal" else "--drop-unusable"
    return DataError(f"{row.origin}: {row.problem} Correct the row, or leave such rows out with {flag}.")


def write_kept(source: RowSource, found: Survey, decision: Decision, rows: IO[str], log: IO[str]) -> int:
    """Read all rows again, and write those that stay, and of the others where they are and why they are left out.

    Args:
        source: What was read before.
        found: What was found then.
        decision: Which rows stay.
        rows: Gets the rows that stay, as JSON Lines.
        log: Gets a JSON object with `place`, `rule` and `reason` for each other row.
    Returns:
        How many rows stay.
    Raises:
        DataError: the data are not the same any more, or several rows make up one record.
    """
    num_kept, next_row = 0, 0
    for row in _raw_rows(source):
        place = found.places.of(row.origin)
        why = found.unusable.get(place)
        if why is None and place not in found.passed_over:
            if next_row == found.table.num_rows or place != int(found.table.places[next_row]):
                raise DataError(
                    f"{row.origin}: is not a record of its own: in this format several rows make up one, or the file "
                    "has changed while it was read. Convert it with `preftune convert` first, and clean what comes out."
                )
            rule = int(decision.rules[next_row])
            why = None if rule < 0 else decision.reasons[rule]
            next_row += 1
        if why is not None:
            log.write(
                json.dumps({"place": str(row.origin), "rule": why[0], "reason": why[1]}, ensure_ascii=False) + "\n"
            )
        elif isinstance(row, Row):
            rows.write(json.dumps(dict(row.fields), ensure_ascii=False, default=str) + "\n")
            num_kept += 1
    return num_kept


def _raw_rows(source: RowSource) -> Iterator[Row | BadRow]:
    for name in source.sources:
        yield from read_rows(name, split=source.split)
