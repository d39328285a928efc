"""Losses in words: what they learn from, what they need, and their options."""

from collections.abc import Iterator, Mapping

from preftune.losses.inputs import INPUTS, Feedback
from preftune.losses.loss import Loss, OptionValue
from preftune.losses.options import Option, loss_options
from preftune.losses.table import LOSSES

__all__ = [
    "FEEDBACK_TEXTS",
    "abilities",
    "losses_by_feedback",
    "needs",
    "option_texts",
    "range_text",
    "value_text",
]

FEEDBACK_TEXTS: Mapping[Feedback, str] = {
    "demonstrations": "Demonstrations: answers to imitate",
    "pairs": "Pairs: which of two answers is better",
    "thumbs": "Thumbs: whether an answer is good",
    "lists": "Lists: answers of a prompt in an order, or with scores",
}
"""What the data must say for each kind of loss."""


def losses_by_feedback() -> dict[Feedback, dict[str, Loss]]:
    """The table of losses, cut by what they learn from.

    >>> list(losses_by_feedback()["demonstrations"])
    ['sft']
    """
    groups: dict[Feedback, dict[str, Loss]] = {feedback: {} for feedback in FEEDBACK_TEXTS}
    for name, loss in LOSSES.items():
        groups[loss.feedback][name] = loss
    return groups


def needs(loss: Loss) -> Iterator[str]:
    """What a loss must be given beside its kind of feedback.

    >>> list(needs(LOSSES["dpo"])), list(needs(LOSSES["sft"]))
    (['a reference'], [])
    """
    if loss.needs_reference:
        yield "a reference"
    yield from dict.fromkeys(cost for name in loss.takes if (cost := INPUTS[name].cost))
    if loss.across_rows:
        yield "a step as a whole, so that with several micro-batches the policy runs once more, without gradient"


def abilities(loss: Loss) -> Iterator[str]:
    """What a loss can be given beyond that.

    >>> list(abilities(LOSSES["dpo"])), list(abilities(LOSSES["ipo"]))
    (['further scores, weighed in by --auxiliary'], [])
    """
    if loss.tiltable:
        yield "further scores, weighed in by --auxiliary"


def option_texts(loss: Loss) -> list[str]:
    """The options of a loss with their defaults.

    >>> option_texts(LOSSES["ipo"])
    ['tau 0.1', 'length_normalized off']
    """
    return [f"{option.name} {value_text(option.default)}" for option in loss_options(loss)]


def value_text(value: OptionValue) -> str:
    """A value as help texts show it.

    >>> value_text(True), value_text(0.10), value_text("log")
    ('on', '0.1', 'log')
    """
    if isinstance(value, bool):
        return "on" if value else "off"
    return value if isinstance(value, str) else f"{value:g}"


def range_text(option: Option) -> str:
    """What an option may be, where its kind says it.

    >>> [range_text(option) for option in loss_options(LOSSES["ipo"])]
    ['number', 'on or off']
    """
    if option.kind is bool:
        return "on or off"
    return ", ".join(option.choices) if option.choices else "number"
