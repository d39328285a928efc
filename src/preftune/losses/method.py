"""A method: a loss with its options, or a weighted sum of several."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from preftune.errors import ConfigError, did_you_mean
from preftune.losses.logps import PolicyLogps, ReferencedLogps
from preftune.losses.loss import INPUTS, Argument, Feedback, Loss, Need, OptionValue, Unit
from preftune.losses.options import loss_options, value_problem
from preftune.losses.table import ALL_LOSSES

ReferenceUse = Literal["none", "logps", "token_logps", "model"]
"""The least that must be known of the reference. A table can hold log-probs of completions or tokens; a method that
needs the distributions needs the model in memory."""


@dataclass(frozen=True, slots=True)
class Part:
    """One loss of a method.

    Args:
        options: A value for each of its keyword arguments.
    """

    name: str
    loss: Loss
    options: Mapping[str, OptionValue]
    weight: float = 1.0

    def __call__(self, *arguments: Any) -> Tensor:
        """Loss per row, not weighted. Arguments: those that `loss.takes` names, in order."""
        return self.loss.function(*arguments, **self.options)

    def updated(self, arguments: Mapping[Argument, Any]) -> Tensor:
        """The state with one more step. `arguments`: by name, with the state before the step as `state`."""
        assert self.loss.update is not None, f"{self.name} keeps no state"
        others = (value for name, value in arguments.items() if name != "state")
        return self.loss.update(arguments["state"], *others, **self.options)

    @property
    def across_rows(self) -> bool:
        """True if, with these options, the loss of a row depends on other rows."""
        name = self.loss.joined_by
        return self.loss.across_rows and (name is None or bool(self.options[name]))

    @property
    def reward_scale(self) -> float:
        """Implicit reward per nat of what `loss.reward` names."""
        return float(self.options.get(self.loss.scale, 1.0))


@dataclass(frozen=True, slots=True)
class Method:
    """One or more losses with their weights and options.

    Build one with `Method.named`, which checks the options against the losses.

    Args:
        name: As given, such as `dpo` or `dpo + 0.2*sft`.
        parts: At least one; all learn from the same feedback.
    """

    name: str
    parts: tuple[Part, ...]

    @staticmethod
    def named(name: str, options: Mapping[str, OptionValue] | None = None) -> "Method":
        """The method `name` with `options`; those not given take their defaults.

        Args:
            name: A loss of the table, or a sum such as `0.8*dpo + 0.2*bco_pair + preferred_ft`.
            options: By name. In a sum an option goes to every part that takes it; `bco_pair.beta` to that part alone.
        Raises:
            ConfigError: an unknown method, an option that it does not take, a value out of its range, or parts that
                learn from different feedback.

        >>> Method.named("dpo", {"beta": 0.5}).options
        {'beta': 0.5, 'label_smoothing': 0.0, 'divergence': 'reverse_kl', 'alpha': 0.5}
        >>> Method.named("sft", {"beta": 0.5})
        Traceback (most recent call last):
        preftune.errors.ConfigError: beta: not an option of method sft, which takes none. Leave it out.
        """
        weights = _parse(name)
        losses = losses_of(name)
        given = dict(options or {})
        parts = tuple(Part(part, losses[part], _bind(part, losses[part], given), weights[part]) for part in weights)
        problems = [*_unknown_options(given, name, losses), *_mixed_feedback(losses), *_mixed_models(losses)]
        problems += [problem for part in parts for problem in _range_problems(part)]
        if problems:
            raise ConfigError(problems)
        return Method(name, parts)

    @property
    def options(self) -> dict[str, OptionValue]:
        """All options by name, as `named` takes them: `part.option` where the parts differ."""
        found: dict[str, OptionValue] = {}
        for option in dict.fromkeys(name for part in self.parts for name in part.options):
            values = {part.name: part.options[option] for part in self.parts if option in part.options}
            if len(set(values.values())) == 1:
                found[option] = next(iter(values.values()))
            else:
                found.update({f"{part}.{option}": value for part, value in values.items()})
        return found

    @property
    def feedback(self) -> Feedback:
        """Feedback that the method learns from."""
        return self.parts[0].loss.feedback

    @property
    def counted(self) -> Unit:
        """Unit that `batch_size` counts."""
        units: Mapping[Feedback, Unit] = {"pairs": "pair", "lists": "prompt"}
        return units.get(self.feedback, "completion")

    @property
    def needs_reference(self) -> bool:
        """True if any part compares the policy with a reference."""
        return any(part.loss.needs_reference for part in self.parts)

    @property
    def across_rows(self) -> bool:
        """True if any part needs the whole step at once."""
        return any(part.across_rows for part in self.parts)

    def needs(self, need: Need) -> bool:
        """True if an input of any part has this requirement."""
        return any(part.loss.needs(need) for part in self.parts)

    @property
    def reference_use(self) -> ReferenceUse:
        """The least that must be known of the reference.

        >>> [Method.named(name).reference_use for name in ("sft", "dpo", "ld_dpo", "tdpo")]
        ['none', 'logps', 'token_logps', 'model']
        """
        if not self.needs_reference:
            return "none"
        if self.needs("reference_distributions"):
            return "model"
        return "token_logps" if self.needs("reference_token_logps") else "logps"

    @property
    def rewarding(self) -> Part | None:
        """The part whose implicit reward is logged: the first that has one."""
        return next((part for part in self.parts if part.loss.reward is not None), None)


def losses_of(method: str) -> dict[str, Loss]:
    """The losses that a method names, in order.

    Raises:
        ConfigError: a name that is not in the table, or a sum that cannot be read.
    """
    return {part: find_loss(part) for part in _parse(method)}


def find_loss(name: str) -> Loss:
    """The row of the table called `name`.

    Raises:
        ConfigError: there is none; the text lists all names and the nearest.
    """
    if name not in ALL_LOSSES:
        hint = did_you_mean(name, ALL_LOSSES)
        raise ConfigError(
            [f"method = {name}: there is no such method.{' ' * bool(hint)}{hint} Methods: {', '.join(ALL_LOSSES)}."]
        )
    return ALL_LOSSES[name]


_TERM = re.compile(r"(?:(?P<weight>[^*]+)\*)?(?P<name>[^*]+)")


def _parse(name: str) -> dict[str, float]:
    """Weight of each part.

    >>> _parse("0.8*dpo + preferred_ft")
    {'dpo': 0.8, 'preferred_ft': 1.0}
    """
    weights: dict[str, float] = {}
    for text in re.split(r"(?<![eE])\+", name):
        term = _TERM.fullmatch(text.strip())
        if term is None:
            raise ConfigError([f"method = {name}: cannot be read at {text.strip()!r}. Write it as 0.8*dpo + 0.2*ipo."])
        part = term["name"].strip()
        if part in weights:
            raise ConfigError([f"method = {name}: {part} comes twice. Add its weights up."])
        weights[part] = _weight(name, term["weight"])
    return weights


def _weight(method: str, text: str | None) -> float:
    try:
        weight = 1.0 if text is None else float(text)
    except ValueError:
        raise ConfigError([f"method = {method}: the weight {text!r} is not a number. Write it as 0.8*dpo."]) from None
    if not (math.isfinite(weight) and weight > 0):
        raise ConfigError([f"method = {method}: the weight {weight:g} must be a number above 0."])
    return weight


def _bind(part: str, loss: Loss, given: Mapping[str, OptionValue]) -> dict[str, OptionValue]:
    bound = {option.name: option.default for option in loss_options(loss)}
    bound.update({name: given[name] for name in bound if name in given})
    bound.update({name: given[f"{part}.{name}"] for name in bound if f"{part}.{name}" in given})
    return bound


def _unknown_options(given: Mapping[str, OptionValue], method: str, losses: Mapping[str, Loss]) -> Iterator[str]:
    own = {part: [option.name for option in loss_options(loss)] for part, loss in losses.items()}
    known = {*(name for names in own.values() for name in names)}
    known |= {f"{part}.{name}" for part, names in own.items() for name in names}
    takes = list(dict.fromkeys(name for names in own.values() for name in names))
    text = f"which takes {', '.join(takes)}" if takes else "which takes none"
    for name in given:
        if name not in known:
            yield f"{name}: not an option of method {method}, {text}. Leave it out."


def _mixed_feedback(losses: Mapping[str, Loss]) -> Iterator[str]:
    kinds = {name: loss.feedback for name, loss in losses.items()}
    if len(set(kinds.values())) > 1:
        listed = ", ".join(f"{name} from {kind}" for name, kind in kinds.items())
        hint = " For SFT on the chosen answers add preferred_ft." if kinds.get("sft") else ""
        yield f"the parts of a sum must learn from the same feedback, but: {listed}.{hint}"


def _mixed_models(losses: Mapping[str, Loss]) -> Iterator[str]:
    of_rewards = [name for name, loss in losses.items() if loss.needs("rewards")]
    others = [name for name in losses if name not in of_rewards]
    if of_rewards and others:
        yield (
            f"{', '.join(of_rewards)}: trains a reward model, which has no log-probs for {', '.join(others)}. Train "
            "two models."
        )


def _range_problems(part: Part) -> Iterator[str]:
    """Problems that the loss finds with its options, called on two rows of zeros."""
    problems = [problem for option in loss_options(part.loss) if (problem := value_problem(option, part.options))]
    yield from problems
    if problems:
        return
    try:
        arguments = probe_arguments(part.loss)
        if part.loss.update is not None:
            part.updated({**arguments, "state": torch.zeros(2)})
        part(*arguments.values())
    except ValueError as error:
        yield from error.args


def probe_arguments(loss: Loss) -> dict[Argument, Any]:
    """Two rows of each input of a loss, by name, at policy = reference."""
    zeros, tokens = torch.zeros(2), torch.ones(2, dtype=torch.long)
    logps = ReferencedLogps(zeros, zeros, tokens) if loss.needs_reference else PolicyLogps(zeros, tokens)
    return {name: INPUTS[name].probe(logps) for name in loss.takes}
