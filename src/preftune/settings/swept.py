"""What can be swept, and values of it as they are written on the command line."""

import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, get_args, get_origin

from preftune.losses import LOSSES, loss_options, losses_of
from preftune.settings import SECTIONS, settings_of
from preftune.settings.coerce import coerce

__all__ = ["Value", "is_taken", "kind_of", "parse_values", "split_values", "value_text"]

Value = Any
"""Of a setting or option: number, text, truth value, None, list or mapping."""

_NOT_SWEPT = {
    "output": "every point has a folder of its own in the sweep's",
    "overwrite": "a sweep replaces nothing",
    "resume": "a sweep goes on by itself",
    "seed": "seeds are given by --seeds",
}
_COMMA = re.compile(r",(?![^\[]*\])")
_WORDS = {"true": True, "on": True, "yes": True, "false": False, "off": False, "no": False}


def kind_of(name: str) -> Any:
    """The type of a setting or of an option of a loss.

    Raises:
        ValueError: there is none of that name, or it cannot be swept.

    >>> kind_of("beta"), kind_of("batch_size"), kind_of("dpo.beta")
    (<class 'float'>, <class 'int'>, <class 'float'>)
    """
    if name in _NOT_SWEPT:
        raise ValueError(f"{name}: cannot be swept, as {_NOT_SWEPT[name]}. Leave it out.")
    kinds: dict[str, Any] = {"method": str, **_option_kinds()}
    kinds |= {item.name: item.type for section in SECTIONS.values() for item in settings_of(section)}
    own = name.rpartition(".")[2] if name.rpartition(".")[2] in _option_kinds() else name
    if own not in kinds:
        near = get_close_matches(name, kinds, n=1)
        hint = f"Did you mean {near[0]}?" if near else "See `preftune train --help`."
        raise ValueError(f"{name}: there is no such setting or option. {hint}")
    return kinds[own]


def is_taken(name: str, method: str) -> bool:
    """Whether a method takes an option; settings of a run are taken by all.

    >>> is_taken("tau", "ipo"), is_taken("tau", "dpo"), is_taken("learning_rate", "dpo")
    (True, False, True)
    """
    part, _, own = name.rpartition(".")
    if own not in _option_kinds():
        return True
    losses = losses_of(method)
    taken = [loss for key, loss in losses.items() if not part or key == part]
    return any(option.name == own for loss in taken for option in loss_options(loss))


def parse_values(name: str, text: str) -> tuple[Value, ...]:
    """The values of a setting, of its type.

    Args:
        name: Of the setting or option.
        text: Values between commas; a list stands in brackets.
    Raises:
        ValueError: an unknown name, no value, one twice, or one of a wrong type.

    >>> parse_values("beta", "0.03,1e-1"), parse_values("lora", "on,off")
    ((0.03, 0.1), (True, False))
    >>> parse_values("lora_targets", "[q_proj,v_proj],all-linear")
    (['q_proj', 'v_proj'], ['all-linear'])
    """
    kind = kind_of(name)
    values = tuple(_typed(name, part, kind) for part in split_values(text))
    if not values:
        raise ValueError(f"{name}: has no values. Write them as {name}=A,B,C.")
    texts = [value_text(value) for value in values]
    twice = next((item for item in texts if texts.count(item) > 1), None)
    if twice is not None:
        raise ValueError(f"{name} = {twice}: is named twice. Name each value once.")
    return values


def split_values(text: str) -> list[str]:
    """The texts between commas that stand in no brackets.

    >>> split_values("[a,b], c")
    ['[a,b]', 'c']
    """
    return [part.strip() for part in _COMMA.split(text) if part.strip()]


def value_text(value: Value) -> str:
    """A value for people and folder names.

    >>> value_text(1e-5), value_text(0.1), value_text(["q", "v"]), value_text(True), value_text(None)
    ('1e-05', '0.1', 'q+v', 'on', 'none')
    """
    if isinstance(value, bool):
        return "on" if value else "off"
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    if isinstance(value, Mapping):
        return "+".join(f"{key}={value_text(item)}" for key, item in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "+".join(map(value_text, value))
    return str(value)


def _typed(name: str, text: str, kind: Any) -> Value:
    try:
        return coerce(next(_readings(text, kind)), kind)
    except ValueError as error:
        raise ValueError(f"{name} = {text}: {error}.") from None


def _readings(text: str, kind: Any) -> Iterator[Value]:
    """What the text can stand for, the likeliest first."""
    kinds = get_args(kind) if type(None) in get_args(kind) else (kind,)
    if type(None) in kinds and text.lower() in ("none", "null"):
        yield None
    if bool in kinds and text.lower() in _WORDS:
        yield _WORDS[text.lower()]
    if int in (*kinds, *get_args(kind)) and re.fullmatch(r"[+-]?\d+", text):
        yield int(text)
    is_list = any(get_origin(part) is list for part in kinds)
    if is_list and text.startswith("[") and text.endswith("]"):
        yield [part.strip() for part in text[1:-1].split(",")]
    yield text


def _option_kinds() -> dict[str, type]:
    return {option.name: option.kind for loss in LOSSES.values() for option in loss_options(loss)}
