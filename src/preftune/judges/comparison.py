"""Two completions of a prompt, what a judge is asked about them, and what it says."""

import hashlib
import json
from dataclasses import dataclass
from typing import Literal

from preftune.groups import Text

__all__ = ["Choice", "Comparison", "Judged", "Question", "Verdict"]

Choice = Literal["first", "second", "tie", "unreadable"]
"""Which completion is better; `unreadable` where the judge's answer does not say."""

_POINTS: dict[Choice, float] = {"first": 1.0, "tie": 0.5, "second": 0.0}


@dataclass(frozen=True, slots=True)
class Question:
    """Two completions in the order in which a judge sees them.

    >>> Question("2+2=", "4", "5").turned
    Question(prompt='2+2=', first='5', second='4')
    """

    prompt: Text
    first: str
    second: str

    @property
    def turned(self) -> "Question":
        """The same in the other order."""
        return Question(self.prompt, self.second, self.first)

    @property
    def key(self) -> bytes:
        """A digest of all that is asked. 16 bytes."""
        prompt = self.prompt if isinstance(self.prompt, str) else [message.as_dict() for message in self.prompt]
        text = json.dumps([prompt, self.first, self.second], ensure_ascii=False, sort_keys=True)
        return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judge says of a question.

    Args:
        choice: Which completion is better.
        answer: The judge's own words, where it has any.
        scores: Of the first and the second completion, for a judge that scores each by itself.
    """

    choice: Choice
    answer: str = ""
    scores: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """A completion of the model and one of its opponent.

    Args:
        prompt_number: Which prompt it is, from 0.
        prompt: What is completed.
        ours, theirs: The completions.
    """

    prompt_number: int
    prompt: Text
    ours: str
    theirs: str

    @property
    def ours_first(self) -> Question:
        """The question with our completion first."""
        return Question(self.prompt, self.ours, self.theirs)

    @property
    def length_difference(self) -> int:
        """Characters of our completion minus those of theirs."""
        return len(self.ours) - len(self.theirs)

    @property
    def blind(self) -> Question:
        """The question in an order that depends on the texts alone and favours nobody."""
        question = self.ours_first
        first, second = question.key, question.turned.key
        return question if first < second else question.turned


@dataclass(frozen=True, slots=True)
class Judged:
    """A comparison with what the judge said of it.

    Args:
        comparison: What was compared.
        ours_first, theirs_first: The verdicts in either order; None where there is none.
    """

    comparison: Comparison
    ours_first: Verdict | None
    theirs_first: Verdict | None

    @property
    def points(self) -> tuple[float, ...]:
        """Our points by readable verdict, 1 for a win and half for a tie.

        >>> comparison = Comparison(0, "2+2=", "4", "5")
        >>> Judged(comparison, Verdict("first"), Verdict("first")).points  # whichever comes first
        (1.0, 0.0)
        """
        found = []
        if self.ours_first is not None and self.ours_first.choice in _POINTS:
            found.append(_POINTS[self.ours_first.choice])
        if self.theirs_first is not None and self.theirs_first.choice in _POINTS:
            found.append(1 - _POINTS[self.theirs_first.choice])
        return tuple(found)

    @property
    def is_complete(self) -> bool:
        """Whether every order that was to be asked has a readable verdict."""
        asked = [verdict for verdict in (self.ours_first, self.theirs_first) if verdict is not None]
        return bool(asked) and all(verdict.choice != "unreadable" for verdict in asked)
