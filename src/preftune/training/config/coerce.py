"""Values of YAML files, flags and Python calls, brought to the type of their field."""

import types
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin

__all__ = ["coerce"]


def coerce(value: Any, kind: Any) -> Any:
    """`value` as a `kind`: bool, int, float, str, Literal, list[str], Mapping[str, str], or one of these or None.

    YAML reads `1e-6` as text and `1` as a whole number; both are taken where a float is meant.

    Raises:
        ValueError: it is none; the text says what is expected.

    >>> coerce("1e-6", float), coerce("a", list[str]), coerce(None, int | None)
    (1e-06, ['a'], None)
    """
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        inner = next(part for part in get_args(kind) if part is not type(None))
        return None if value is None else coerce(value, inner)
    if origin is Literal:
        return _one_of(value, get_args(kind))
    if origin is list:
        return _words(value)
    if origin is Mapping:
        return _names(value)
    return _scalar(value, kind)


def _scalar(value: Any, kind: type) -> Any:
    if kind is float and isinstance(value, (int, float, str)) and not isinstance(value, bool):
        try:
            return float(value)
        except ValueError:
            raise ValueError("must be a number") from None
    if type(value) is kind:
        return value
    expected = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}[kind]
    raise ValueError(f"must be {expected}")


def _one_of(value: Any, words: tuple[str, ...]) -> str:
    for word in words:
        if value == word:
            return word
    raise ValueError(f"must be one of {', '.join(words)}")


def _words(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, (list, tuple)) and all(isinstance(word, str) for word in value):
        return list(value)
    raise ValueError("must be text or a list of texts")


def _names(value: Any) -> dict[str, str]:
    if isinstance(value, str):
        pairs = [part.partition("=") for part in value.split(",") if part]
        if all(name and equals and column for name, equals, column in pairs):
            return {name.strip(): column.strip() for name, _, column in pairs}
    if isinstance(value, Mapping) and all(isinstance(part, str) for pair in value.items() for part in pair):
        return dict(value)
    raise ValueError("must be written as name=column,name=column")
