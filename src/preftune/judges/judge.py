"""Whoever says which of two completions is better."""

from collections.abc import Callable, Sequence
from typing import Protocol

from preftune.judges.comparison import Question, Verdict

__all__ = ["Judge", "Keep"]

Keep = Callable[[Question, Verdict], None]
"""Takes a verdict as soon as it is known; from any thread."""


class Judge(Protocol):
    """Compares two completions of a prompt."""

    @property
    def name(self) -> str:
        """Who it is, for people, such as `openai:gpt-5`."""

    @property
    def identity(self) -> str | None:
        """All that its verdicts depend on beside the question; None where they are cheap and need not be kept."""

    @property
    def asks_both_orders(self) -> bool:
        """Whether a verdict may depend on which completion comes first, so that both orders must be asked."""

    def ask(self, questions: Sequence[Question], keep: Keep) -> None:
        """Give a verdict on each question.

        Some may be left without one: those that a budget does not allow, or that cannot be answered.

        Args:
            questions: What is asked, each once.
            keep: Called for each verdict once, as soon as it is known.
        Raises:
            JudgeError: the judge does not work. What was kept by then is not lost.
        """
