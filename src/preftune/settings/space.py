"""The space of a sweep: settings that can be swept, their values and ranges, and its points."""

import hashlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, get_args, get_origin

from preftune.errors import did_you_mean
from preftune.files.number_text import value_text
from preftune.losses import ALL_LOSSES, loss_options, losses_of
from preftune.settings.config import coerce
from preftune.settings.train_config import SETTINGS, TrainConfig

Value = Any
"""Value of a setting or option: number, text, bool, None, list or mapping."""

NOT_SWEPT = {name: item.not_swept for name, item in SETTINGS.items() if item.not_swept}
"""Reason why a setting cannot be swept, by name."""

_COMMA = re.compile(r",(?![^\[]*\])")
_WORDS = {"true": True, "on": True, "yes": True, "false": False, "off": False, "no": False}


def kind_of(name: str) -> Any:
    """The type of a setting or of an option of a loss.

    Raises:
        ValueError: There is no such setting or option, or it cannot be swept.

    >>> kind_of("beta"), kind_of("batch_size"), kind_of("dpo.beta")
    (<class 'float'>, <class 'int'>, <class 'float'>)
    """
    if name in NOT_SWEPT:
        raise ValueError(f"{name}: cannot be swept, as {NOT_SWEPT[name]}. Leave it out.")
    kinds: dict[str, Any] = {"method": str, **_option_kinds()}
    kinds |= {item.name: item.type for item in SETTINGS.values()}
    own = name.rpartition(".")[2] if name.rpartition(".")[2] in _option_kinds() else name
    if own not in kinds:
        hint = did_you_mean(name, kinds) or "See `preftune train --help`."
        raise ValueError(f"{name}: there is no such setting or option. {hint}")
    return kinds[own]


def is_taken(name: str, method: str) -> bool:
    """True if a method takes an option. All methods take the settings of a run.

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
    """The values of a setting or option, of its type.

    Args:
        text: Values separated by commas; a list stands in brackets.
    Raises:
        ValueError: An unknown name, no value, a repeated value, or one of a wrong type.

    >>> parse_values("beta", "0.03,1e-1"), parse_values("lora", "on,off")
    ((0.03, 0.1), (True, False))
    >>> parse_values("lora_targets", "[q_proj,v_proj],all-linear")
    (['q_proj', 'v_proj'], ['all-linear'])
    """
    kind = kind_of(name)
    values = tuple(_typed(name, part, kind) for part in split_values(text))
    if not values:
        raise ValueError(f"{name}: has no values. Write them as {name}=A,B,C.")
    texts = [value_text(value, "+") for value in values]
    twice = next((item for item in texts if texts.count(item) > 1), None)
    if twice is not None:
        raise ValueError(f"{name} = {twice}: is named twice. Name each value once.")
    return values


def split_values(text: str) -> list[str]:
    """The parts of a text between commas, except for commas in brackets.

    >>> split_values("[a,b], c")
    ['[a,b]', 'c']
    """
    return [part.strip() for part in _COMMA.split(text) if part.strip()]


def _typed(name: str, text: str, kind: Any) -> Value:
    try:
        return coerce(next(_readings(text, kind)), kind)
    except ValueError as error:
        raise ValueError(f"{name} = {text}: {error}.") from None


def _readings(text: str, kind: Any) -> Iterator[Value]:
    """Possible readings of the text, the most likely first."""
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
    return {option.name: option.kind for loss in ALL_LOSSES.values() for option in loss_options(loss)}


Setup = Mapping[str, Value]
"""The swept settings of a point, by name, without the seed."""

_LONGEST = 120


@dataclass(frozen=True, slots=True)
class Point:
    """A run of a sweep.

    Args:
        setup: Swept settings. Points that differ only in the seed have the same setup.
    """

    name: str
    setup: Setup
    config: TrainConfig

    @property
    def seed(self) -> int:
        """Seed of the run."""
        return self.config.steps.seed


def grid(over: Mapping[str, Sequence[Value]]) -> list[Setup]:
    """All combinations of values; the last name varies fastest.

    >>> grid({"beta": [0.1, 0.3], "epochs": [1.0]})
    [{'beta': 0.1, 'epochs': 1.0}, {'beta': 0.3, 'epochs': 1.0}]
    """
    return [dict(zip(over, values, strict=True)) for values in product(*over.values())]


def setup_name(setup: Setup) -> str:
    """The swept settings for people.

    >>> setup_name({"beta": 0.1, "method": "dpo"})
    'beta=0.1, method=dpo'
    """
    return ", ".join(f"{name}={value_text(value, '+')}" for name, value in setup.items())


def safe_name(text: str) -> str:
    """A folder name: other characters are replaced, and a digest then keeps different texts apart.

    >>> safe_name("beta=0.1,seed=0")
    'beta=0.1,seed=0'
    >>> safe_name("model=org/a,seed=0") != safe_name("model=org-a,seed=0")
    True
    """
    name = re.sub(r"[^\w.,=+@-]+", "-", text).strip(".")[:_LONGEST]
    return name if name == text else f"{name}-{hashlib.blake2b(text.encode(), digest_size=3).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Range:
    """All numbers between two, both included.

    Args:
        log: Draw uniformly on a logarithmic scale.
        whole: Draw integers only.
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
        """Both ends, of their type."""
        return (int(self.low), int(self.high)) if self.whole else (self.low, self.high)

    def place(self, value: float) -> float:
        """Position of a value in the range, from 0 to 1.

        >>> Range(0.01, 1, log=True).place(0.1)
        0.5
        """
        scale = math.log if self.log else float
        return (scale(value) - scale(self.low)) / (scale(self.high) - scale(self.low))

    def __str__(self) -> str:
        return f"{self.low:g}:{self.high:g}" + (":log" if self.log else "")


@dataclass(frozen=True, slots=True)
class Choice:
    """A fixed set of values."""

    values: tuple[Value, ...]

    @property
    def ends(self) -> tuple[Value, ...]:
        """All values."""
        return self.values


Dimension = Range | Choice


def parse_dimension(name: str, text: str) -> Dimension:
    """A range, `LOW:HIGH` or `LOW:HIGH:log`, or choices separated by commas.

    Raises:
        ValueError: An unknown name, or a text that is neither.

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
    """Combinations of the ends of all ranges and all choices, without options that their method does not take.

    Args:
        space: Ranges and choices by name.
        method: Method of the runs if none is searched.
    """
    seen = []
    for values in product(*(dimension.ends for dimension in space.values())):
        setup = fitting(dict(zip(space, values, strict=True)), space, method)
        if setup not in seen:
            seen.append(setup)
            yield setup


def fitting(setup: Setup, space: Mapping[str, Dimension], method: str) -> Setup:
    """The settings without options that the point's method does not take.

    Options are left out only if methods are searched, as an option then belongs to the methods that take it. Otherwise
    such an option is a mistake, and the settings of the run report it.

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
