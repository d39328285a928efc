"""The space of a sweep: settings that can be swept, their values and ranges, and its points."""

import hashlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import product
from typing import Any, get_args, get_origin

from preftune.losses import LOSSES, loss_options, losses_of
from preftune.settings import SECTIONS, TrainConfig, settings_of
from preftune.settings.setting import coerce

__all__ = [
    "Choice",
    "Dimension",
    "Point",
    "Range",
    "Setup",
    "Value",
    "corners",
    "fitting",
    "grid",
    "is_taken",
    "kind_of",
    "parse_dimension",
    "parse_values",
    "safe_name",
    "setup_name",
    "split_values",
    "value_text",
]

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


Setup = Mapping[str, Value]
"""The swept settings of a point, by name; the seed is none of them."""

_LONGEST = 120


@dataclass(frozen=True, slots=True)
class Point:
    """A run of a sweep.

    Args:
        name: Of its folder.
        setup: What is swept. Points that differ in the seed alone have the same.
        config: The settings of the run.
    """

    name: str
    setup: Setup
    config: TrainConfig

    @property
    def seed(self) -> int:
        """Of the run."""
        return self.config.steps.seed


def grid(over: Mapping[str, Sequence[Value]]) -> list[Setup]:
    """All combinations, the last name fastest.

    >>> grid({"beta": [0.1, 0.3], "epochs": [1.0]})
    [{'beta': 0.1, 'epochs': 1.0}, {'beta': 0.3, 'epochs': 1.0}]
    """
    return [dict(zip(over, values, strict=True)) for values in product(*over.values())]


def setup_name(setup: Setup) -> str:
    """The swept settings for people.

    >>> setup_name({"beta": 0.1, "method": "dpo"})
    'beta=0.1, method=dpo'
    """
    return ", ".join(f"{name}={value_text(value)}" for name, value in setup.items())


def safe_name(text: str) -> str:
    """A name for a folder: what may not stand in one is replaced, and a digest then keeps different texts apart.

    >>> safe_name("beta=0.1,seed=0")
    'beta=0.1,seed=0'
    >>> safe_name("model=org/a,seed=0") != safe_name("model=org-a,seed=0")
    True
    """
    name = re.sub(r"[^\w.,=+@-]+", "-", text).strip(".")[:_LONGEST]
    return name if name == text else f"{name}-{hashlib.blake2b(text.encode(), digest_size=3).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Range:
    """All numbers between two.

    Args:
        low, high: Both ends, which may be drawn as well.
        log: Whether the logarithm is drawn evenly.
        whole: Whether only whole numbers are drawn.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"{self.low:g}:{self.high:g}: the first must be below the second.")
        if self.log and self.low <= 0:
            raise ValueError(f"{self.low:g}:{self.high:g}:log: must begin above 0.")

    @property
    def ends(self) -> tuple[Value, ...]:
        """Both, of their type."""
        return (int(self.low), int(self.high)) if self.whole else (self.low, self.high)

    def place(self, value: float) -> float:
        """Where a value lies, from 0 to 1.

        >>> Range(0.01, 1, log=True).place(0.1)
        0.5
        """
        scale = math.log if self.log else float
        return (scale(value) - scale(self.low)) / (scale(self.high) - scale(self.low))

    def __str__(self) -> str:
        return f"{self.low:g}:{self.high:g}" + (":log" if self.log else "")


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some values."""

    values: tuple[Value, ...]

    @property
    def ends(self) -> tuple[Value, ...]:
        """All of them."""
        return self.values


Dimension = Range | Choice


def parse_dimension(name: str, text: str) -> Dimension:
    """A range, `LOW:HIGH` or `LOW:HIGH:log`, or choices between commas.

    Raises:
        ValueError: an unknown name, or a text that is neither.

    >>> parse_dimension("beta", "0.01:1:log")
    Range(low=0.01, high=1.0, log=True, whole=False)
    >>> parse_dimension("method", "dpo,ipo")
    Choice(values=('dpo', 'ipo'))
    """
    kind = kind_of(name)
    kinds = (kind, *get_args(kind))
    ends, is_log = text.removesuffix(":log"), text.endswith(":log")
    if ":" not in ends or not ({int, float} & {part for part in kinds if isinstance(part, type)}):
        return Choice(parse_values(name, text))
    low, _, high = ends.partition(":")
    try:
        found = Range(float(low), float(high), log=is_log, whole=float not in kinds)
    except ValueError as error:
        expected = str(error) if str(error).startswith(f"{low}:") or "must" in str(error) else "is no range."
        raise ValueError(f"{name} = {text}: {expected} Write it as {name}=LOW:HIGH or {name}=LOW:HIGH:log.") from None
    if found.whole and not (found.low.is_integer() and found.high.is_integer()):
        raise ValueError(f"{name} = {text}: takes whole numbers only.")
    return found


def corners(space: Mapping[str, Dimension], method: str) -> Iterator[Setup]:
    """The ends of all ranges with all choices, as far as the method of each takes them.

    Args:
        space: By name.
        method: Of the base, where none is searched.
    """
    seen = []
    for values in product(*(dimension.ends for dimension in space.values())):
        setup = fitting(dict(zip(space, values, strict=True)), space, method)
        if setup not in seen:
            seen.append(setup)
            yield setup


def fitting(setup: Setup, space: Mapping[str, Dimension], method: str) -> Setup:
    """The settings without options that the point's method does not take.

    Only where methods are searched: there an option belongs to those that take it. Elsewhere it is a mistake, which is
    for the settings of the run to tell.

    >>> space = {"method": Choice(("dpo", "ipo")), "beta": Range(0.1, 1)}
    >>> fitting({"method": "ipo", "beta": 0.1}, space, "dpo")
    {'method': 'ipo'}
    """
    if "method" not in space:
        return setup
    own = str(setup.get("method", method))
    methods = [str(value) for value in space["method"].ends]
    return {
        name: value
        for name, value in setup.items()
        if is_taken(name, own) or not any(is_taken(name, other) for other in methods)
    }
