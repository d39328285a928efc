"""One way to make a config from settings by name, whether they come from YAML files, flags or Python calls."""

import json
import os
import re
import types
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import yaml

from preftune.errors import ConfigError, did_you_mean, names_flags
from preftune.settings.foreign import foreign_hint
from preftune.settings.setting import Section, Setting, settings_of

_MOST_BITS = 2**64
_BEFORE_PATH = re.compile(r"((?:\w+:)?)(.*)", re.DOTALL)


def for_caller(problem: str) -> str:
    """The message in words of the caller: in a Python call with keywords for flags, except in shell commands.

    >>> for_caller("Hold out a part with --eval-fraction 0.05, or give --eval-data.")
    'Hold out a part with eval_fraction=0.05, or give eval_data=...'
    >>> for_caller("See `preftune train --help`.")
    'See `preftune train --help`.'
    """
    if names_flags.get():
        return problem
    text, command, rest = problem.partition("preftune ")
    text = re.sub(r"--([a-z][a-z0-9-]+) ([\w.:/]*[\w/])(?=[.,;) ]|$)", _keyword_of_value, text)
    text = re.sub(r"--([a-z][a-z0-9-]+)\.?", lambda found: f"{found[1].replace('-', '_')}=...", text)
    return text + command + rest


def _keyword_of_value(found: re.Match[str]) -> str:
    """A flag and its value as a keyword, where what follows is a value and not a word of the sentence."""
    is_value = found[2].isupper() or re.search(r"[\d:/]", found[2]) is not None
    return f"{found[1].replace('-', '_')}={found[2]}" if is_value else found[0]


def names_of(sections: Iterable[type[Section]]) -> list[str]:
    """Names of all settings of some sections."""
    return [item.name for section in sections for item in settings_of(section)]


def read_settings(path: str | Path) -> dict[str, Any]:
    """The settings in a YAML file, by name, not checked yet.

    Raises:
        ConfigError: The file cannot be read, or holds no mapping of names to values.
    """
    try:
        settings = yaml.safe_load(Path(expanded(str(path))).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read ({error.strerror}). Give the path of a YAML file."]) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: not a YAML file. {error}"]) from None
    if not isinstance(settings, dict) or not all(isinstance(name, str) for name in settings):
        raise ConfigError([f"{path}: must hold lines of `name: value`, as `preftune train --print-config` prints."])
    return settings


def yaml_line(name: str, value: Any) -> str:
    """A setting as a line of YAML."""
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000)
    return f"{name}: " + text.removesuffix("...\n").strip()  # PyYAML ends a bare scalar with a document end


def unknown_settings(given: Iterable[str], known: Collection[str], *, command: str) -> Iterator[str]:
    """Messages about names that are no settings.

    >>> list(unknown_settings(["judgee"], ["judge"], command="eval"))
    ['judgee: there is no such setting. Did you mean judge?']
    """
    for name in given:
        if name not in known:
            hint = foreign_hint(name) or did_you_mean(name, known) or f"See `preftune {command} --help`."
            yield f"{name}: there is no such setting. {hint}"


def build_sections(
    sections: Mapping[str, type[Section]], settings: Mapping[str, Any], problems: list[str]
) -> dict[str, Any]:
    """An instance of each section, by topic; see `build_section`."""
    return {topic: build_section(section, settings, problems) for topic, section in sections.items()}


def build_section(section: type[Section], settings: Mapping[str, Any], problems: list[str]) -> Any:
    """An instance of `section`, or None. Messages about what cannot work are added to `problems`."""
    values: dict[str, Any] = {}
    found: list[str] = []
    for item in settings_of(section):
        try:
            values[item.name] = _value(item, settings)
        except ValueError as error:
            found.append(str(error))
            values[item.name] = _stand_in(item)
    built = None
    try:
        built = section(**values)
        found += built.problems()
    except ConfigError as error:  # of a section that checks itself
        found += error.problems
    problems += found
    return None if found else built


def _stand_in(item: Setting) -> Any:
    """A valid value instead of one that is missing or of a wrong type, so that the other settings are checked too."""
    if item.default is not MISSING:
        return item.default
    return item.choices[0] if item.choices else coerce("-", item.type)


def _value(item: Setting, settings: Mapping[str, Any]) -> Any:
    if item.name not in settings:
        if item.default is MISSING:
            raise ValueError(f"{item.name}: is not given. {item.help} Set it with {item.flag}.")
        return item.default
    try:
        value = coerce(settings[item.name], item.type)
        value = expanded(value) if item.is_path else value
        check_texts(value, is_path=item.is_path)
        return value
    except ValueError as error:
        raise ValueError(f"{item.name} = {shown(settings[item.name])}: {error}.") from None


_LONGEST_TEXT, _LONGEST_SHOWN = 10_000, 200
_LONGEST_PATH, _LONGEST_NAME = 4_095, 255


def shown(value: Any) -> str:
    """A value as Python writes it, cut where it is long.

    >>> shown("dpo"), len(shown("x" * 1000))
    ("'dpo'", 203)
    """
    try:
        text = repr(value)
    except ValueError:  # Python writes no whole number of more than 4,300 digits
        return f"a {type(value).__name__} with a number of many digits"
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "..."


def check_texts(value: Any, *, is_path: bool) -> None:
    """Check the texts in a value, which may be a list or a mapping.

    Args:
        is_path: The texts are paths, or may be.
    Raises:
        ValueError: One cannot be written into a file, or is too long; the message begins with "must".

    >>> check_texts(["prefs.jsonl", "a" + chr(0)], is_path=True)
    Traceback (most recent call last):
    ValueError: must not hold the character NUL
    """
    for text in _texts(value):
        if "\0" in text:
            raise ValueError("must not hold the character NUL")
        try:
            size = len(text.encode())
        except UnicodeEncodeError:
            raise ValueError("must be Unicode text, without halves of surrogate pairs") from None
        if len(text) > _LONGEST_TEXT:
            raise ValueError(f"must have at most {_LONGEST_TEXT:,} characters")
        longest = max(len(name.encode()) for name in text.split("/"))
        if is_path and (size > _LONGEST_PATH or longest > _LONGEST_NAME):
            raise ValueError(f"must be a path of at most {_LONGEST_PATH:,} bytes, {_LONGEST_NAME} in each name")


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from _texts(list(value))
        yield from _texts(list(value.values()))
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def expanded(value: Any) -> Any:
    """A path, or each of several, with `~` or `~NAME` at its start replaced by the home folder.

    A kind of judge may stand before the path. Other texts stay as they are, and so does the home of an unknown user.

    >>> import os
    >>> home = os.path.expanduser("~")
    >>> expanded("~/run") == f"{home}/run", expanded(["file:~/a", "a~/b"]) == [f"file:{home}/a", "a~/b"]
    (True, True)
    """
    if isinstance(value, list):
        return [expanded(item) for item in value]
    if not isinstance(value, str):
        return value
    kind, path = _BEFORE_PATH.fullmatch(value).groups()  # type: ignore[union-attr]
    return kind + os.path.expanduser(path)  # noqa: PTH111 - a Path would change texts that are no paths


def coerce(value: Any, kind: Any) -> Any:
    """`value` as a `kind`: bool, int, float, str, Literal, list[str], list[float], a Mapping of str to str, float or
    Any (JSON), or a union of some of these and None.

    YAML reads `1e-6` as text and `1` as an integer; both are accepted as a float.

    Raises:
        ValueError: It cannot be one; the message begins with "must be".

    >>> coerce("1e-6", float), coerce("a", list[str]), coerce(None, int | None)
    (1e-06, ['a'], None)
    >>> coerce("auto", int | Literal["auto"] | None), coerce(8, int | Literal["auto"] | None)
    ('auto', 8)
    >>> coerce(["0.7", 0.3], list[float]), coerce(1, list[float])
    ([0.7, 0.3], [1.0])
    >>> coerce("safety=0.5,length=-1e-2", Mapping[str, float])
    {'safety': 0.5, 'length': -0.01}
    >>> coerce('{"enable_thinking": false}', Mapping[str, Any])
    {'enable_thinking': False}
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
        return _MAPPINGS[get_args(kind)[1]](value)
    return _scalar(value, kind)


def _any_of(value: Any, kinds: Sequence[Any]) -> Any:
    """The value as the first of `kinds` that accepts it."""
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
        except (ValueError, OverflowError):
            raise ValueError("must be a number") from None
    if type(value) is int and kind is int and abs(value) > _MOST_BITS:
        raise ValueError("must be a number of at most 64 bits")
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


def _json_object(value: Any) -> dict[str, Any]:
    """A mapping of JSON values, from text or from a mapping."""
    try:
        found = json.loads(value if isinstance(value, str) else json.dumps(value))
    except (TypeError, ValueError):
        found = None
    if isinstance(found, dict):
        return found
    raise ValueError('must be a JSON object, such as {"name": true}')


_MAPPINGS: Mapping[Any, Callable[[Any], dict[str, Any]]] = {str: _names, float: _numbers, Any: _json_object}
"""Reader of a mapping by the type of its values."""


def _items(value: Any) -> dict[str, Any] | None:
    """Values by name from a mapping or from text such as `name=value,name=value`; None for anything else."""
    if isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
        return dict(value)
    if not isinstance(value, str):
        return None
    pairs = [part.partition("=") for part in value.split(",") if part]
    if not all(name.strip() and equals and item.strip() for name, equals, item in pairs):
        return None
    return {name.strip(): item.strip() for name, _, item in pairs}
