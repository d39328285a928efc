"""Lists and objects that a file holds as text: JSON, or Python's `repr` as in CSV files written by pandas."""

import ast
import re
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from preftune.data.formats.fields import is_blank
from preftune.data.rows import Row
from preftune.data.text_files import load_json

_BETWEEN_ITEMS = re.compile(r"\}\s*\n\s*\{")
"""Items of an array as NumPy prints it, without a comma. Line breaks inside strings are escaped there."""


def parsed(text: str) -> list[Any] | dict[str, Any] | None:
    r"""The list or object that a text is, in JSON or as Python's `repr`; None for other text.

    >>> parsed('[{"role": "user"}]') == parsed("[{'role': 'user'}]")
    True
    >>> parsed("[{'role': 'user'}\n {'role': 'assistant'}]")
    [{'role': 'user'}, {'role': 'assistant'}]
    >>> parsed("[2] What is this?")
    """
    stripped = text.strip()
    if (stripped[:1], stripped[-1:]) not in (("[", "]"), ("{", "}")):
        return None
    for read in (load_json, _python_value):
        try:
            found = read(stripped)
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue
        if isinstance(found, list | dict):
            return found
    return None


def _python_value(text: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)  # of backslashes that are no escapes
        return ast.literal_eval(_BETWEEN_ITEMS.sub("}, {", text))


def serialised_columns(
    first: Row, rows: Iterable[Row], texts: Collection[str], structures: Collection[str]
) -> Iterator[tuple[str, Row | None]]:
    """Columns of a file that hold a list or an object as text, each with the first row that holds something else.

    A column of `texts` counts if it holds messages, because other lists and objects may be meant as text.

    Args:
        first: The first row, which decides what columns to look at.
        rows: All rows. Read only if the first row has such a column.
        texts: Columns that may hold text.
        structures: Columns that hold nothing but lists or objects.
    """

    def is_serialised(name: str, value: Any) -> bool:
        found = parsed(value) if isinstance(value, str) else None
        return found is not None and (name in structures or _is_conversation(found))

    candidates = {name for name in (*texts, *structures) if is_serialised(name, first.fields.get(name))}
    others: dict[str, Row] = {}
    for row in rows if candidates else ():
        for name in candidates - others.keys():
            value = row.fields.get(name)
            if not is_blank(value) and not is_serialised(name, value):
                others[name] = row
        if len(others) == len(candidates):
            break
    yield from ((name, others.get(name)) for name in sorted(candidates))


def _is_conversation(value: Any) -> bool:
    turns = value if isinstance(value, list) else [value]
    return bool(turns) and all(isinstance(turn, Mapping) and ("role" in turn or "from" in turn) for turn in turns)
