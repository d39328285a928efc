"""The interface of a judge: a question about two completions, its verdict, and the comparison they settle."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from preftune.groups import Text

Choice = Literal["first", "second", "tie", "unreadable"]
"""The better completion; `unreadable` if the judge's answer does not name one."""

_POINTS: dict[Choice, float] = {"first": 1.0, "tie": 0.5, "second": 0.0}


@dataclass(frozen=True, slots=True)
class Question:
    """Two completions of a prompt, in the order in which a judge sees them.

    >>> Question("2+2=", "4", "5").turned
    Question(prompt='2+2=', first='5', second='4')
    """

    prompt: Text
    first: str
    second: str

    @property
    def turned(self) -> "Question":
        """The question with its completions swapped."""
        return Question(self.prompt, self.second, self.first)

    @property
    def key(self) -> bytes:
        """A digest of the prompt and both completions. 16 bytes."""
        prompt = self.prompt if isinstance(self.prompt, str) else [message.as_dict() for message in self.prompt]
        text = json.dumps([prompt, self.first, self.second], ensure_ascii=False, sort_keys=True)
        return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judge's answer to a question.

    Args:
        answer: The judge's own words, if it has any.
        scores: Scores of the first and the second completion, if the judge scores each by itself.
    """

    choice: Choice
    answer: str = ""
    scores: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """A completion of the model and one of its opponent for the same prompt. `prompt_number` counts from 0."""

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
        """The question in an order that depends on the texts alone, not on whose they are."""
        question = self.ours_first
        first, second = question.key, question.turned.key
        return question if first < second else question.turned


@dataclass(frozen=True, slots=True)
class JudgedComparison:
    """A comparison with the judge's verdict in each order; None for an order without one."""

    comparison: Comparison
    ours_first: Verdict | None
    theirs_first: Verdict | None

    @property
    def points(self) -> tuple[float, ...]:
        """Our points by readable verdict: 1 for a win, half for a tie, 0 for a loss.

        >>> comparison = Comparison(0, "2+2=", "4", "5")
        >>> JudgedComparison(comparison, Verdict("first"), Verdict("first")).points  # whichever comes first
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
        """True if every order that was asked has a readable verdict."""
        return bool(self.verdicts) and all(verdict.choice != "unreadable" for verdict in self.verdicts)

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """The verdicts of the orders that were asked."""
        return tuple(verdict for verdict in (self.ours_first, self.theirs_first) if verdict is not None)

    @property
    def scores(self) -> tuple[float, float] | None:
        """Scores of our and of their completion; None if the judge gives none.

        >>> comparison = Comparison(0, "2+2=", "4", "5")
        >>> JudgedComparison(comparison, None, Verdict("second", scores=(0.1, 0.9))).scores
        (0.9, 0.1)
        """
        if self.ours_first is not None and self.ours_first.scores is not None:
            return self.ours_first.scores
        if self.theirs_first is not None and self.theirs_first.scores is not None:
            theirs, ours = self.theirs_first.scores
            return ours, theirs
        return None


Keep = Callable[[Question, Verdict], None]
"""Called with each verdict as soon as it is known, from any thread."""


class Judge(Protocol):
    """Compares two completions of a prompt."""

    @property
    def name(self) -> str:
        """Name shown to people, such as `openai:gpt-5`."""

    @property
    def identity(self) -> str | None:
        """Everything that verdicts depend on beside the question; None if they are cheap and need not be stored."""

    @property
    def asks_both_orders(self) -> bool:
        """True if a verdict may depend on the order of the completions, so that both orders are asked."""

    def ask(self, questions: Sequence[Question], keep: Keep) -> None:
        """Give a verdict on each of the distinct questions, except those beyond a budget or without an answer.

        Raises:
            JudgeError: the judge does not work. Verdicts passed to `keep` before are not lost.
        """
