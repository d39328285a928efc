"""A loss with its options: what a run is asked to do."""

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches

import torch
from torch import Tensor

from preftune.errors import ConfigError
from preftune.losses.logps import PolicyLogps, ReferencedLogps
from preftune.losses.table import LOSSES, Loss

__all__ = ["Method", "Option", "find_loss", "loss_options"]


@dataclass(frozen=True, slots=True)
class Option:
    """An option of a method: a keyword argument of its loss.

    Args:
        name: Name of the keyword argument.
        default: What the method uses when nothing is said.
        help: What the loss's docstring says of it.
    """

    name: str
    default: float
    help: str


@dataclass(frozen=True, slots=True)
class Method:
    """A loss and the value of each of its options.

    Build one with `Method.named`, which checks the options against the loss.
    """

    name: str
    loss: Loss
    options: Mapping[str, float]

    @staticmethod
    def named(name: str, options: Mapping[str, float] | None = None) -> "Method":
        """The method `name` with `options`; those not given take their defaults.

        Raises:
            ConfigError: an unknown method, an option that it does not take, or a value out of its range.

        >>> Method.named("dpo", {"beta": 0.5}).options
        {'beta': 0.5, 'label_smoothing': 0.0}
        >>> Method.named("sft", {"beta": 0.5})
        Traceback (most recent call last):
        preftune.errors.ConfigError: beta: not an option of method sft, which takes none. Leave it out.
        """
        loss = find_loss(name)
        known = {option.name: option.default for option in loss_options(loss)}
        problems = [_unknown_option(option, name, known) for option in options or {} if option not in known]
        if problems:
            raise ConfigError(problems)
        method = Method(name, loss, {**known, **(options or {})})
        method._check_ranges()
        return method

    def __call__(self, *logps: PolicyLogps | ReferencedLogps) -> Tensor:
        """Loss per row: `(chosen, rejected)` for a loss of pairs, `(completions,)` for one of completions."""
        return self.loss.function(*logps, **self.options)

    @property
    def reward_scale(self) -> float | None:
        """Implicit reward per nat of logratio, for a method that has one."""
        return self.options.get("beta") if self.loss.needs_reference else None

    def _check_ranges(self) -> None:
        not_finite = [
            f"{name} = {value}: must be a finite number."
            for name, value in self.options.items()
            if not math.isfinite(value)
        ]
        if not_finite:
            raise ConfigError(not_finite)
        zero, one = torch.zeros(1), torch.ones(1, dtype=torch.long)
        row = ReferencedLogps(zero, zero, one) if self.loss.needs_reference else PolicyLogps(zero, one)
        try:
            self(*(row, row) if self.loss.feedback == "pairs" else (row,))
        except ValueError as error:
            raise ConfigError([str(error)]) from None


def find_loss(name: str) -> Loss:
    """The row of the table called `name`.

    Raises:
        ConfigError: there is none; the text lists all names and the nearest.
    """
    if name not in LOSSES:
        near = get_close_matches(name, LOSSES, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise ConfigError([f"method = {name}: there is no such method.{hint} Methods: {', '.join(LOSSES)}."])
    return LOSSES[name]


def loss_options(loss: Loss) -> tuple[Option, ...]:
    """The options of a loss: its keyword arguments, their defaults and their help.

    >>> [(option.name, option.default) for option in loss_options(LOSSES["dpo"])]
    [('beta', 0.1), ('label_smoothing', 0.0)]
    """
    texts = _argument_texts(inspect.getdoc(loss.function) or "")
    parameters = inspect.signature(loss.function).parameters.values()
    return tuple(
        Option(parameter.name, loss.defaults.get(parameter.name, parameter.default), texts[parameter.name])
        for parameter in parameters
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    )


def _argument_texts(docstring: str) -> dict[str, str]:
    """Text of each argument in a docstring's `Args:` block, joined to one line."""
    texts: dict[str, str] = {}
    name = ""
    block = docstring.partition("Args:\n")[2].splitlines()
    for line in block:
        indent = len(line) - len(line.lstrip())
        if indent == 0:
            break
        if indent == 4:
            name, _, text = line.strip().partition(": ")
            texts[name] = text
        else:
            texts[name] += " " + line.strip()
    return texts


def _unknown_option(option: str, method: str, known: Mapping[str, float]) -> str:
    takes = f"which takes {', '.join(known)}" if known else "which takes none"
    return f"{option}: not an option of method {method}, {takes}. Leave it out."
