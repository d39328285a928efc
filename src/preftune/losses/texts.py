"""Texts of losses, for help, `preftune methods`, its page and reports.

`texts.json` is written from the docstrings of the losses, so that nothing is read from docstrings at run time.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from preftune.losses.loss import INPUTS, Feedback, Loss

TEXTS_FILE = Path(__file__).with_name("texts.json")

FEEDBACK_TEXTS: Mapping[Feedback, str] = {
    "demonstrations": "Demonstrations: completions to imitate",
    "pairs": "Pairs: a chosen and a rejected completion",
    "thumbs": "Thumbs: completions labelled good or bad",
    "lists": "Lists: completions of a prompt with ranks or scores",
}
"""Data that each kind of loss learns from, in the order in which losses are listed."""


@dataclass(frozen=True, slots=True)
class LossText:
    """Description of a loss. A missing part is empty.

    Args:
        summary: First sentence.
        formula: Lines of `name = ...`, with their layout.
        use: When to use it.
        notes: Further paragraphs.
        arguments: Text of each argument; arguments with the same text are joined: "chosen, rejected".
        returns, source, differs: Text of the section of the docstring.
        example: The doctest, with its prompts and its output.
    """

    summary: str = ""
    formula: str = ""
    use: str = ""
    notes: tuple[str, ...] = ()
    arguments: Mapping[str, str] = field(default_factory=dict)
    returns: str = ""
    source: str = ""
    differs: str = ""
    example: str = ""


@cache
def loss_texts() -> Mapping[str, LossText]:
    """Texts of all losses, by the name of the function."""
    found = json.loads(TEXTS_FILE.read_text(encoding="utf-8"))
    return {name: LossText(**{**text, "notes": tuple(text["notes"])}) for name, text in found.items()}


def loss_text(loss: Loss) -> LossText:
    """Texts of a loss; those of a loss that is not in the table are empty.

    >>> from preftune.losses import LOSSES
    >>> loss_text(LOSSES["sft"]).formula
    'loss = -policy'
    """
    return loss_texts().get(loss.function.__name__, LossText())


def needs(loss: Loss) -> Iterator[str]:
    """Requirements of a loss beyond its kind of feedback.

    >>> from preftune.losses import LOSSES
    >>> list(needs(LOSSES["dpo"])), list(needs(LOSSES["sft"]))
    (['a reference'], [])
    """
    if loss.needs_reference:
        yield "a reference"
    yield from dict.fromkeys(cost for name in loss.takes if (cost := INPUTS[name].cost))
    if loss.across_rows:
        yield "the whole step at once: with several micro-batches, an additional forward pass without gradient"


def abilities(loss: Loss) -> Iterator[str]:
    """Optional features that a loss supports.

    >>> from preftune.losses import LOSSES
    >>> list(abilities(LOSSES["dpo"])), list(abilities(LOSSES["ipo"]))
    (['auxiliary scores (--auxiliary)'], [])
    """
    if loss.tiltable:
        yield "auxiliary scores (--auxiliary)"
