"""JSON files: frozen dataclasses and back, objects, one object per line; atomic writes of any file."""

import json
import math
import types
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from preftune.errors import DataError, SaveError
from preftune.files.partial import partial_path

Record = TypeVar("Record")

_LINE_ENDS = {code: f"\\u{code:04x}" for code in (0x85, 0x2028, 0x2029)}
"""Characters that some readers, Python's `splitlines` among them, take for ends of lines."""


def as_json(value: Any) -> Any:
    """Convert a value to JSON types: dataclasses to objects, tuples to arrays, NaN and infinity to null.

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
    """Read back what `as_json` made of a dataclass, tuple, mapping, union with None, or plain value.

    Fields with a default may be missing, so that files from before such a field was added can be read.

    Raises:
        ValueError: the value has another shape.

    >>> from_json(tuple[float, ...], [1, None])
    (1.0, nan)
    >>> from_json(Mapping[str, tuple[int, ...]], {"a": [1]})
    {'a': (1,)}
    """
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        (inner,) = (part for part in get_args(kind) if part is not type(None))
        return None if value is None else from_json(inner, value)
    if origin is tuple:
        return _tuple(get_args(kind), value)
    if origin is Mapping or (isinstance(origin, type) and issubclass(origin, Mapping)):
        return _mapping(get_args(kind)[1], value)
    if origin is Literal or kind is Any:
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


def _mapping(kind: Any, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"expected an object, got {value!r}")
    return {name: from_json(kind, item) for name, item in value.items()}


def _record(kind: Any, value: Any) -> Any:
    types_by_name = get_type_hints(kind)
    names = [item.name for item in fields(kind)]
    needed = {item.name for item in fields(kind) if item.default is MISSING and item.default_factory is MISSING}
    if not isinstance(value, dict) or not needed <= set(value) <= set(names):
        raise ValueError(f"expected an object with {', '.join(names)}, got {value!r}")
    return kind(**{name: from_json(types_by_name[name], value[name]) for name in names if name in value})


def write_json(path: Path, value: Any) -> None:
    """Write a value as an indented JSON file, atomically.

    Raises:
        SaveError: the file cannot be written, or the disk is full.
    """
    write_whole(path, json.dumps(as_json(value), indent=2) + "\n")


def read_json_object(path: Path, *, made_by: str) -> dict[str, Any] | None:
    """The object in a file; None if there is no file.

    Raises:
        DataError: the file is damaged, or does not hold an object.
    """
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: is damaged. {error}. Delete it, or recreate it with {made_by}.") from None
    if not isinstance(found, dict):
        raise DataError(f"{path}: must hold an object. Delete it, or recreate it with {made_by}.")
    return found


def read_record(kind: type[Record], path: Path, *, made_by: str) -> Record | None:
    """The dataclass that `write_json` wrote; None if there is no file.

    Raises:
        DataError: the file is damaged, or belongs to another version of the package.
    """
    found = read_json_object(path, made_by=made_by)
    if found is None:
        return None
    try:
        record: Record = from_json(kind, found)
    except ValueError as error:
        problem = " ".join(str(error).split())[:200]
        raise DataError(
            f"{path}: was written by another version of preftune and cannot be read: {problem}. Delete it, or "
            f"recreate it with {made_by}."
        ) from None
    return record


def json_line(value: Any) -> str:
    """A value as one line of a JSON lines file, line feed included."""
    return json.dumps(as_json(value), ensure_ascii=False).translate(_LINE_ENDS) + "\n"


def json_text(value: Any, **options: Any) -> str:
    """JSON that can be written as UTF-8: half of a surrogate pair stays the escape that JSON has for it.

    Args:
        options: Of `json.dumps`.

    >>> json_text("é"), json_text("é" + chr(0xD800))
    ('"é"', '"\\\\u00e9\\\\ud800"')
    """
    text = json.dumps(value, ensure_ascii=False, **options)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return json.dumps(value, **options)
    return text


def append_json_line(path: Path, value: Any) -> None:
    """Add a line to a JSON lines file, which need not exist."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json_line(value))


def write_json_lines(path: Path, values: Iterable[Any]) -> None:
    """Write a JSON lines file atomically.

    Raises:
        SaveError: the file cannot be written, or the disk is full.
    """
    write_whole(path, "".join(map(json_line, values)))


def keep_json_lines(path: Path, values: Sequence[Any]) -> None:
    """Make a JSON lines file hold just these values, whatever it holds. Its own lines of them stay as they are.

    Raises:
        SaveError: the file cannot be written, or the disk is full.
    """
    before = path.read_bytes().split(b"\n") if path.is_file() else []
    kept = []
    for number, value in enumerate(values):
        line = before[number] if number < len(before) else b""
        kept.append(line + b"\n" if _holds(line, as_json(value)) else json_line(value).encode())
    if before or kept:
        write_whole(path, b"".join(kept))


def _holds(line: bytes, value: Any) -> bool:
    try:
        return bool(json.loads(line) == value)
    except ValueError:
        return False


def read_json_lines(path: Path) -> tuple[dict[str, Any], ...]:
    """The objects in a JSON lines file; empty if there is no file. An incomplete last line is left out.

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
            if number == len(lines):  # a complete line ends in a line feed
                break
            raise DataError(f"{path}:{number}: is damaged. {error}. Delete this line.") from None
        found.append(item)
    return tuple(found)


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file atomically: beside its path first, then moved into place. An existing file stays until then.

    Args:
        content: Text is written as UTF-8.
    Raises:
        SaveError: the file cannot be written, or the disk is full.
    """
    partial = partial_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise SaveError(f"{path}: could not be written ({error.strerror or error}). Free some space.") from error
