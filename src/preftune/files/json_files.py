"""JSON files: frozen dataclasses as JSON and back, objects, and lines."""

import json
import math
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from preftune.errors import DataError

__all__ = ["as_json", "from_json", "read_json_lines", "read_json_object"]


def as_json(value: Any) -> Any:
    """A value as JSON holds it: dataclasses are objects, tuples arrays, and what is no number (NaN, infinity) is null.

    >>> as_json((1, math.nan, {"a": None}))
    [1, None, {'a': None}]
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: as_json(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): as_json(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def from_json(kind: Any, value: Any) -> Any:
    """What `as_json` made of a `kind`: a dataclass, tuple, mapping, union with None, or a plain value.

    Fields that have a default need not be there, so that files from before such a field was added can be read.

    Raises:
        ValueError: it is of another shape.

    >>> from_json(tuple[float, ...], [1, None])
    (1.0, nan)
    """
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        (inner,) = (part for part in get_args(kind) if part is not type(None))
        return None if value is None else from_json(inner, value)
    if origin is tuple:
        return _tuple(get_args(kind), value)
    if origin is Literal:
        return value
    if is_dataclass(kind):
        return _record(kind, value)
    if kind is float and (value is None or isinstance(value, (int, float))):
        return math.nan if value is None else float(value)
    if isinstance(kind, type) and isinstance(value, kind):
        return value
    raise ValueError(f"expected {getattr(kind, '__name__', kind)}, got {value!r}")


def _tuple(kinds: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise ValueError(f"expected a list, got {value!r}")
    each = kinds[:1] * len(value) if kinds[1:] == (...,) else kinds
    return tuple(from_json(kind, item) for kind, item in zip(each, value, strict=True))


def _record(kind: Any, value: Any) -> Any:
    types_by_name = get_type_hints(kind)
    names = [item.name for item in fields(kind)]
    needed = {item.name for item in fields(kind) if item.default is MISSING}
    if not isinstance(value, dict) or not needed <= set(value) <= set(names):
        raise ValueError(f"expected an object with {', '.join(names)}, got {value!r}")
    return kind(**{name: from_json(types_by_name[name], value[name]) for name in names if name in value})


def read_json_object(path: Path, *, made_by: str) -> dict[str, Any] | None:
    """The object in a file; None where there is no file.

    Args:
        path: The file.
        made_by: The command that writes it, for the error.
    Raises:
        DataError: the file is damaged, or holds something else.
    """
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: is damaged. {error}. Delete it, or make it anew with {made_by}.") from None
    if not isinstance(found, dict):
        raise DataError(f"{path}: must hold an object. Delete it, or make it anew with {made_by}.")
    return found


def read_json_lines(path: Path) -> tuple[dict[str, Any], ...]:
    """The objects in a file with one a line; none where there is no file. A last line that was cut short is left out.

    Raises:
        DataError: the file is damaged.
    """
    if not path.is_file():
        return ()
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    found = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            item = json.loads(line)
            if not isinstance(item, dict) or not isinstance(item.get("step"), int):
                raise ValueError("it must be an object with a step")
        except ValueError as error:
            if number == len(lines):  # a whole line ends in a line break
                break
            raise DataError(f"{path}:{number}: is damaged. {error}. Delete this line.") from None
        found.append(item)
    return tuple(found)
