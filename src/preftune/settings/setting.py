"""A config field with everything that help texts, flags and checks need to know about it."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from functools import cache
from typing import Any, ClassVar, Literal, get_args, get_origin, get_type_hints

from preftune.losses.options import LARGEST_NUMBER

Change = Literal["result", "course", "output", "speed", "folder"]
"""Effect of another value.

result: what is learned, or measured by an evaluation. A run cannot resume with another value.
course: when a run evaluates, saves and stops; the steps stay the same.
output: what is logged, and where to.
speed: time, memory, processes and money only.
folder: the folder of the results, and what happens to an earlier run in it.
"""

Part = Literal["data", "mix", "held out", "longest"]
"""Part of the data that a setting decides: rows and pairs, their mix, the held-out part, the length limit."""

Command = Literal["check", "clean", "convert", "eval", "generate", "merge"]
"""Commands that take some of the settings of training."""

_LARGEST_WHOLE = 2**31 - 1
_KEY = "preftune"
_INTERVAL = re.compile(r"([\[(])(\S+), (\S+)([\])])")


@dataclass(frozen=True, slots=True)
class Interval:
    """Allowed range of a number.

    >>> Interval.parse("[0, 1)"), 1.0 in Interval.parse("[0, 1)"), Interval.parse("(0, inf)").requirement
    (Interval(low=0.0, high=1.0, has_low=True, has_high=False), False, 'above 0')
    """

    low: float
    high: float
    has_low: bool
    has_high: bool

    @staticmethod
    def parse(text: str) -> "Interval":
        """The interval in mathematical notation, such as `[0, 1)` or `(0, inf)`."""
        found = _INTERVAL.fullmatch(text)
        assert found is not None, text
        return Interval(float(found[2]), float(found[3]), found[1] == "[", found[4] == "]")

    def __contains__(self, number: float) -> bool:
        above = number >= self.low if self.has_low else number > self.low
        return above and (number <= self.high if self.has_high else number < self.high)

    @property
    def requirement(self) -> str:
        """The range in words, after "must be"."""
        if math.isinf(self.high):
            return f"at least {self.low:g}" if self.has_low else f"above {self.low:g}"
        return f"in {'[' if self.has_low else '('}{self.low:g}, {_whole(self.high)}{']' if self.has_high else ')'}"


def _whole(number: float) -> str:
    """A limit in all its digits: `{:g}` rounds those of large whole numbers."""
    return f"{number:.0f}" if number >= 1e6 else f"{number:g}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """One config field.

    Args:
        default: Value if nothing is given; `MISSING` if it must be given.
        help: One sentence for help texts, with the unit and the default where a value cannot show it.
        changes: Effect of another value.
        decides: Part of the data that it decides, or None.
        within: Range of a number, or of each number of a list. None is always allowed, and so is text.
        because: Added to the message about a number out of range.
        used_by: Commands beside `train`, `sft` and `sweep` that take it.
        from_run: An evaluation of a run takes the run's value by default, so that its numbers can be compared.
        for_preferences: Methods that learn from demonstrations have no use for it.
        is_path: A file or folder, or something that may be one, such as a model: `~` is expanded.
        metavar: Placeholder of the value in help texts; by default the type.
        not_swept: Reason why a sweep cannot vary it; empty if it can.
    """

    name: str
    type: Any
    default: Any
    help: str
    changes: Change = "result"
    decides: Part | None = None
    within: Interval | None = None
    because: str = ""
    used_by: tuple[Command, ...] = ()
    from_run: bool = False
    for_preferences: bool = False
    is_path: bool = False
    metavar: str | None = None
    not_swept: str = ""

    @property
    def flag(self) -> str:
        """Flag on the command line, such as `--max-length`."""
        return "--" + self.name.replace("_", "-")

    @property
    def choices(self) -> tuple[str, ...]:
        """Allowed words of a `Literal` field. Empty for other fields, and for those that take numbers as well."""
        kinds = get_args(self.type) if type(None) in get_args(self.type) else (self.type,)
        kinds = tuple(kind for kind in kinds if kind is not type(None))
        is_words = all(get_origin(kind) is Literal for kind in kinds)
        return tuple(word for kind in kinds for word in get_args(kind)) if is_words else ()

    def problems(self, value: Any) -> Iterator[str]:
        """Messages about numbers out of range, or too large to compute with."""
        for number in value if isinstance(value, Sequence) else [value]:
            if isinstance(number, bool) or not isinstance(number, (int, float)):
                continue
            if self.within is not None and number not in self.within:
                because = f", {self.because}" if self.because else ""
                yield f"{self.name} = {number}: must be {self.within.requirement}{because}."
            elif (self.within is None or math.isinf(self.within.high)) and (problem := too_large(number)):
                yield f"{self.name} = {number}: {problem}"


def too_large(number: float) -> str:
    """The problem with a finite number that other libraries cannot hold; empty if there is none.

    >>> too_large(2**63), too_large(1e308), too_large(2**31 - 1), too_large(math.inf)
    ('must be at most 2147483647.', 'must be at most 1e+30.', '', '')
    """
    if isinstance(number, int):
        return "" if number <= _LARGEST_WHOLE else f"must be at most {_LARGEST_WHOLE}."
    return f"must be at most {LARGEST_NUMBER:g}." if LARGEST_NUMBER < number < math.inf else ""


class Section:
    """Settings of one topic. Subclasses are frozen dataclasses whose fields are made by `setting`."""

    __slots__ = ()

    title: ClassVar[str]
    """Heading in help texts, YAML files and reports."""

    def problems(self) -> Iterator[str]:
        """Messages about values that cannot work, alone or together."""
        for item in settings_of(type(self)):
            yield from item.problems(getattr(self, item.name))
        yield from self.conflicts()

    def conflicts(self) -> Iterator[str]:
        """Messages about values that a range cannot describe, or that do not go together."""
        yield from ()


def setting(
    default: Any,
    help: str,  # noqa: A002
    *,
    changes: Change = "result",
    decides: Part | None = None,
    within: str | None = None,
    because: str = "",
    used_by: tuple[Command, ...] = (),
    from_run: bool = False,
    for_preferences: bool = False,
    is_path: bool = False,
    metavar: str | None = None,
    not_swept: str = "",
) -> Any:
    """A dataclass field with its meaning, see `Setting`. Lists and mappings are copied for every instance."""
    known = {
        "help": help,
        "changes": changes,
        "decides": decides,
        "within": None if within is None else Interval.parse(within),
        "because": because,
        "used_by": used_by,
        "from_run": from_run,
        "for_preferences": for_preferences,
        "is_path": is_path,
        "metavar": metavar,
        "not_swept": not_swept,
    }
    if isinstance(default, (list, dict)):
        return field(default_factory=default.copy, metadata={_KEY: known})
    return field(default=default, metadata={_KEY: known})


def settings_of(section: type[Section]) -> tuple[Setting, ...]:
    """The settings of a section, in order."""
    key: Any = section  # to mypy a class is as unhashable as its instances
    types = _types(key)
    return tuple(
        Setting(name=item.name, type=types[item.name], default=_default(item), **item.metadata[_KEY])
        for item in fields(section)  # type: ignore[arg-type]
        if _KEY in item.metadata
    )


@cache
def _types(section: Any) -> Mapping[str, Any]:
    return get_type_hints(section)


def settings_for(
    command: Command,
    section: type[Section],
    *,
    help: Mapping[str, str] = {},  # noqa: A002
    defaults: Mapping[str, Any] = {},
) -> tuple[Setting, ...]:
    """The settings of a section that a command takes.

    Args:
        help: Help texts that differ from those of training, by name.
        defaults: Defaults that differ from those of training, by name.

    >>> from preftune.settings import ModelSettings
    >>> [item.name for item in settings_for("merge", ModelSettings)]
    ['model', 'revision', 'weights_dtype', 'trust_remote_code']
    """
    return tuple(
        replace(item, help=help.get(item.name, item.help), default=defaults.get(item.name, item.default))
        for item in settings_of(section)
        if command in item.used_by
    )


def _default(item: Field[Any]) -> Any:
    return item.default_factory() if item.default_factory is not MISSING else item.default
