"""Trials of the campaign: their kinds, and the results of their attempts."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from tests.campaign.place import Place

__all__ = ["FAILURES", "RESULTS", "Attempt", "Kind", "Result", "Trial"]

Result = Literal["held", "message", "traceback", "silent", "lost"]
RESULTS: dict[Result, str] = {
    "held": "held",
    "message": "messages",
    "traceback": "tracebacks",
    "silent": "silent deviations",
    "lost": "lost",
}
"""Result of an attempt, and its title in the table.

held: the result is the one of an undisturbed command. message: the command ended with an error of its own. traceback:
it ended in any other way. silent: it ended well with another result, and said nothing. lost: it cannot be repeated or
does not end.
"""
FAILURES: Sequence[Result] = ("traceback", "silent", "lost")


@dataclass(frozen=True, slots=True)
class Attempt:
    """The result of one attempt, or of several that have one result.

    Args:
        text: The attempt, and what was found, for a failure.
        count: Number of attempts.
    """

    result: Result
    text: str = ""
    count: int = 1


Trial = Callable[[Place, Random, int], Iterator[Attempt]]
"""A trial, of the place to work in, the source of all its choices, and its number, which selects among the subjects."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of trials.

    Args:
        unit: Name of its attempts.
        trial: Makes one trial.
        share: Share of the time, relative to other kinds.
    """

    name: str
    unit: str
    trial: Trial
    share: float = 1.0
