"""A judge that scores each completion by itself."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import final

from preftune.errors import JudgeError
from preftune.groups import Text
from preftune.judges.comparison import Choice, Question, Verdict
from preftune.judges.judge import Keep

__all__ = ["Score", "ScoringJudge", "verdict_of_scores"]

Score = Callable[[Sequence[tuple[Text, str]]], Sequence[float]]
"""Prompts with a completion each to scores; higher is better."""

_COMPLETIONS_AT_ONCE = 256


@final
@dataclass(frozen=True, slots=True, eq=False)
class ScoringJudge:
    """Prefers the completion with the higher score. The order makes no difference, so each question is asked once.

    Args:
        name: See `Judge`.
        score: Gives a finite score for each completion.
        identity: See `Judge`.
    """

    name: str
    score: Score
    identity: str | None = None
    asks_both_orders: bool = False

    def ask(self, questions: Sequence[Question], keep: Keep) -> None:
        """See `Judge.ask`. A completion that is in several questions is scored once."""
        items = list(dict.fromkeys(item for question in questions for item in _items(question)))
        scores: dict[tuple[Text, str], float] = {}
        left = list(questions)
        for start in range(0, len(items), _COMPLETIONS_AT_ONCE):
            chunk = items[start : start + _COMPLETIONS_AT_ONCE]
            scores.update(zip(chunk, self._scores(chunk), strict=True))
            ready = [question for question in left if all(item in scores for item in _items(question))]
            left = [question for question in left if not all(item in scores for item in _items(question))]
            for question in ready:
                first, second = (scores[item] for item in _items(question))
                keep(question, verdict_of_scores(first, second))

    def _scores(self, items: Sequence[tuple[Text, str]]) -> list[float]:
        scores = [float(score) for score in self.score(items)]
        wrong = next((score for score in scores if not isfinite(score)), None)
        if wrong is not None:
            raise JudgeError(f"judge = {self.name}: gave the score {wrong}. It must give finite numbers.")
        return scores


def verdict_of_scores(first: float, second: float) -> Verdict:
    """The verdict that two scores make.

    >>> verdict_of_scores(1.0, 0.5).choice, verdict_of_scores(0.5, 0.5).choice
    ('first', 'tie')
    """
    choice: Choice = "tie" if first == second else "first" if first > second else "second"
    return Verdict(choice, scores=(first, second))


def _items(question: Question) -> tuple[tuple[Text, str], tuple[Text, str]]:
    return (question.prompt, question.first), (question.prompt, question.second)
