"""Options of losses, which are their keyword arguments, and checks of their ranges."""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal, get_args, get_origin, get_type_hints

from preftune.errors import Problem
from preftune.files.number_text import value_text
from preftune.losses.loss import Loss, OptionValue
from preftune.losses.texts import loss_text

LARGEST_NUMBER = 1e30
"""Limit of all numbers: products with it still fit into float32."""


@dataclass(frozen=True, slots=True)
class Option:
    """An option of a method: a keyword argument of its loss.

    Args:
        name: Name of the keyword argument.
        kind: `float`, `bool`, or `str` for one of `choices`.
        default: Value of the method if the option is not given.
        help: Meaning, unit and range.
        choices: Allowed words of a `str`.
    """

    name: str
    kind: type[float] | type[bool] | type[str]
    default: OptionValue
    help: str
    choices: tuple[str, ...] = ()


def loss_options(loss: Loss) -> tuple[Option, ...]:
    """The options of a loss.

    >>> from preftune.losses import LOSSES
    >>> [(option.name, option.default) for option in loss_options(LOSSES["dpo"])]
    [('beta', 0.1), ('label_smoothing', 0.0), ('divergence', 'reverse_kl'), ('alpha', 0.5)]
    """
    help_of = loss_text(loss).arguments
    return tuple(
        replace(option, default=loss.defaults.get(option.name, option.default), help=help_of.get(option.name, ""))
        for option in _keywords(loss.function)
    )


@cache
def _keywords(function: Callable[..., object]) -> list[Option]:
    kinds = get_type_hints(function)
    found = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            kind, name = kinds[parameter.name], parameter.name
            choices = get_args(kind) if get_origin(kind) is Literal else ()
            found.append(Option(name, str if choices else kind, parameter.default, "", choices))
    return found


def value_problem(option: Option, values: Mapping[str, OptionValue]) -> Problem | None:
    """The problem if the value of an option is of the wrong type; None if there is none."""
    value = values[option.name]
    if option.choices:
        return (
            None if value in option.choices else Problem(option.name, value, f"must be {' or '.join(option.choices)}.")
        )
    if option.kind is bool:
        return None if isinstance(value, bool) else Problem(option.name, value, "must be true or false.")
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not abs(value) < math.inf:
        return Problem(option.name, value, "must be a finite number.")
    if abs(value) > LARGEST_NUMBER:
        return Problem(option.name, value, f"must be at most {LARGEST_NUMBER:g}.")
    return None


# --- texts --------------------------------------------------------------------------------------------------------


def option_texts(loss: Loss) -> list[str]:
    """The options of a loss with their defaults.

    >>> from preftune.losses import LOSSES
    >>> option_texts(LOSSES["ipo"])
    ['tau 0.1', 'length_normalized off']
    """
    return [f"{option.name} {value_text(option.default)}" for option in loss_options(loss)]


def range_text(option: Option) -> str:
    """Values that the type of an option allows.

    >>> from preftune.losses import LOSSES
    >>> [range_text(option) for option in loss_options(LOSSES["ipo"])]
    ['number', 'on or off']
    """
    if option.kind is bool:
        return "on or off"
    return ", ".join(option.choices) if option.choices else "number"


# --- ranges that several losses share -----------------------------------------------------------------------------


def check_beta(beta: float) -> None:
    """Refuse a beta that is not above 0."""
    if not beta > 0:
        raise ValueError(
            Problem("beta", beta, "must be above 0. The loss would not depend on the policy, or train it away.")
        )


def check_label_smoothing(label_smoothing: float) -> None:
    """Refuse a probability of flipped labels outside [0, 0.5)."""
    if not 0 <= label_smoothing < 0.5:
        raise ValueError(
            Problem("label_smoothing", label_smoothing, "must be in [0, 0.5). From 0.5 on labels say nothing.")
        )


def check_word(name: str, value: str, words: object) -> None:
    """Refuse a word that is not one of the Literal `words`."""
    if value not in get_args(words):
        raise ValueError(Problem(name, value, f"must be {' or '.join(get_args(words))}."))


def check_unused(name: str, value: float, *, default: float, needs: str) -> None:
    """Refuse a value for an option that does nothing unless `needs` is set."""
    if value != default:
        raise ValueError(Problem(name, value, f"does nothing without {needs}. Leave it out, or set {needs}."))
