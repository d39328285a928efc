"""Reading rows of a test."""

from typing import Any

from preftune.data.formats.format import Format
from preftune.data.formats.table import recognise
from preftune.data.rows import BadRow, LeftOut, Row, RowStream
from preftune.errors import DataError
from preftune.groups import Origin, PromptGroup

__all__ = ["contents", "read", "read_all"]


def read(extra_scores: tuple[str, ...] = (), **fields: Any) -> PromptGroup:
    """The group of a row, in the format that its columns have."""
    [item] = read_all(fields, format_=recognise(fields), extra_scores=extra_scores, first=17)
    if isinstance(item, BadRow):
        raise DataError(str(item))
    assert isinstance(item, PromptGroup), item
    return item


def read_all(
    *rows: dict[str, Any], format_: Format, extra_scores: tuple[str, ...] = (), first: int = 1, can_reopen: bool = True
) -> list[PromptGroup | BadRow | LeftOut]:
    """What a format makes of rows of which the first is at the line `first`."""
    located = [Row(Origin("prefs.jsonl", number), fields) for number, fields in enumerate(rows, start=first)]
    stream = RowStream(iter(located), (lambda: iter(located)) if can_reopen else None, lambda row: row)
    return list(format_.read(stream, extra_scores))


def contents(group: PromptGroup) -> list[Any]:
    """What each completion holds."""
    return [completion.content for completion in group.completions]
