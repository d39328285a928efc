"""A config field with all that help texts, flags and checks need to know of it."""

import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, field, fields
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

__all__ = ["Setting", "coerce", "setting", "settings_of"]

_KEY = "preftune"


class Setting:
    """What is known of one config field.

    Args:
        name: Name of the field, and of its flag.
        type: Annotation, resolved.
        default: Value when nothing is said; `MISSING` where it must be given.
        help: A sentence for the help text, with the unit.
    """

    def __init__(self, name: str, type_: Any, default: Any, help_: str) -> None:
        self.name = name
        self.type = type_
        self.default = default
        self.help = help_

    @property
    def flag(self) -> str:
        """How the field is set on the command line, such as `--max-length`."""
        return "--" + self.name.replace("_", "-")

    @property
    def choices(self) -> tuple[str, ...]:
        """The allowed words of a `Literal` field, else nothing: a field that takes numbers as well has no such list."""
        kinds = get_args(self.type) if type(None) in get_args(self.type) else (self.type,)
        kinds = tuple(kind for kind in kinds if kind is not type(None))
        is_words = all("Literal" in str(get_origin(kind)) for kind in kinds)
        return tuple(word for kind in kinds for word in get_args(kind)) if is_words else ()


def setting(default: Any, help: str) -> Any:  # noqa: A002
    """A dataclass field with its help text. Lists and mappings are copied for every instance."""
    metadata = {_KEY: help}
    if isinstance(default, (list, dict)):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata)


def settings_of(section: type) -> tuple[Setting, ...]:
    """The settings of a config section, in order."""
    types = get_type_hints(section)
    return tuple(
        Setting(item.name, types[item.name], _default(item), item.metadata[_KEY])
        for item in fields(section)
        if _KEY in item.metadata
    )


def _default(item: Field[Any]) -> Any:
    return item.default_factory() if item.default_factory is not MISSING else item.default


def coerce(value: Any, kind: Any) -> Any:
    """`value` as a `kind`: bool, int, float, str, Literal, list[str], list[float], a Mapping of str to str or float,
    or a union of some and None.

    YAML reads `1e-6` as text and `1` as a whole number; both are taken where a float is meant.

    Raises:
        ValueError: it is none; the text says what is expected.

    >>> coerce("1e-6", float), coerce("a", list[str]), coerce(None, int | None)
    (1e-06, ['a'], None)
    >>> coerce("auto", int | Literal["auto"] | None), coerce(8, int | Literal["auto"] | None)
    ('auto', 8)
    >>> coerce(["0.7", 0.3], list[float]), coerce(1, list[float])
    ([0.7, 0.3], [1.0])
    >>> coerce("safety=0.5,length=-1e-2", Mapping[str, float])
    {'safety': 0.5, 'length': -0.01}
    """
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        kinds = [part for part in get_args(kind) if part is not type(None)]
        return None if value is None else _any_of(value, kinds)
    if origin is Literal:
        return _one_of(value, get_args(kind))
    if origin is list:
        return _words(value) if get_args(kind)[0] is str else _list_of_numbers(value)
    if origin is Mapping:
        return _numbers(value) if get_args(kind)[1] is float else _names(value)
    return _scalar(value, kind)


def _any_of(value: Any, kinds: Sequence[Any]) -> Any:
    """The value as the first of `kinds` that takes it."""
    expected = []
    for kind in kinds:
        try:
            return coerce(value, kind)
        except ValueError as error:
            expected.append(str(error).removeprefix("must be "))
    raise ValueError("must be " + " or ".join(expected))


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
    raise ValueError(f"must be one of {', '.join(words)}" if len(words) > 1 else f"must be {words[0]}")


def _words(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, (list, tuple)) and all(isinstance(word, str) for word in value):
        return list(value)
    raise ValueError("must be text or a list of texts")


def _list_of_numbers(value: Any) -> list[float]:
    try:
        return [coerce(item, float) for item in (value if isinstance(value, (list, tuple)) else [value])]
    except ValueError:
        raise ValueError("must be a number or a list of numbers") from None


def _names(value: Any) -> dict[str, str]:
    named = _items(value)
    if named is not None and all(isinstance(column, str) for column in named.values()):
        return named
    raise ValueError("must be written as name=column,name=column")


def _numbers(value: Any) -> dict[str, float]:
    named = _items(value)
    if named is not None:
        try:
            return {name: coerce(number, float) for name, number in named.items()}
        except ValueError:
            pass
    raise ValueError("must be written as name=number,name=number")


def _items(value: Any) -> dict[str, Any] | None:
    """Values by name, from a mapping or from text such as `name=value,name=value`; None where it is neither."""
    if isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
        return dict(value)
    if not isinstance(value, str):
        return None
    pairs = [part.partition("=") for part in value.split(",") if part]
    if not all(name.strip() and equals and item.strip() for name, equals, item in pairs):
        return None
    return {name.strip(): item.strip() for name, _, item in pairs}
