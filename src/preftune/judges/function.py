"""Judges that score each completion, and Python functions as judges."""

import hashlib
import inspect
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from math import isfinite
from pathlib import Path
from textwrap import shorten
from typing import Any, cast, final

from preftune.errors import JudgeError, first_line
from preftune.groups import Text
from preftune.judges.judge import Choice, Judge, Keep, Question, Verdict

Score = Callable[[Sequence[Text], Sequence[str]], Sequence[float | None]]
"""Prompts and a completion of each to scores; higher is better, None: no score."""

_COMPLETIONS_AT_ONCE = 256
_CHOICES = ("first", "second", "tie")


@final
@dataclass(frozen=True, slots=True, eq=False)
class ScoringJudge:
    """Prefers the completion with the higher score. The order makes no difference, so each question is asked once.

    Args:
        name, identity: As in `Judge`.
        score: Gives a finite score, or None, for each completion.
    """

    name: str
    score: Score
    identity: str | None = None
    asks_both_orders: bool = False

    def scores(self, prompts: Sequence[Text], completions: Sequence[str]) -> list[float | None]:
        """The score of each completion, None where there is none.

        Args:
            prompts, completions: Item i of both belongs together. Any number.
        Raises:
            JudgeError: a score that is not finite.
        """
        scores = [_number(self.name, score) for score in self.score(prompts, completions)]
        wrong = next((score for score in scores if score is not None and not isfinite(score)), None)
        if wrong is not None:
            raise JudgeError(f"judge = {self.name}: gave the score {wrong}. It must give finite numbers.")
        return scores

    def ask(self, questions: Sequence[Question], keep: Keep) -> None:
        """Score each distinct completion once. A question about a completion without a score gets no verdict."""
        items = list(dict.fromkeys(item for question in questions for item in _scored_items(question)))
        scores: dict[tuple[Text, str], float | None] = {}
        left = list(questions)
        for start in range(0, len(items), _COMPLETIONS_AT_ONCE):
            chunk = items[start : start + _COMPLETIONS_AT_ONCE]
            prompts, completions = zip(*chunk, strict=True)
            scores.update(zip(chunk, self.scores(prompts, completions), strict=True))
            ready = [question for question in left if all(item in scores for item in _scored_items(question))]
            left = [question for question in left if not all(item in scores for item in _scored_items(question))]
            for question in ready:
                first, second = (scores[item] for item in _scored_items(question))
                if first is not None and second is not None:
                    keep(question, _verdict_of(first, second))


def _verdict_of(first: float, second: float) -> Verdict:
    choice: Choice = "tie" if first == second else "first" if first > second else "second"
    return Verdict(choice, scores=(first, second))


def _scored_items(question: Question) -> tuple[tuple[Text, str], tuple[Text, str]]:
    return (question.prompt, question.first), (question.prompt, question.second)


@final
@dataclass(frozen=True, slots=True, eq=False)
class FunctionJudge:
    """Calls a function for each question, one after the other.

    Args:
        name, identity: As in `Judge`.
        function: (prompt, first, second) -> "first", "second" or "tie".
    """

    name: str
    identity: str | None
    function: Callable[..., Any]
    asks_both_orders: bool = True

    def ask(self, questions: Sequence[Question], keep: Keep) -> None:
        """Call the function for each question.

        Raises:
            JudgeError: it returns something else than a choice.
        """
        for question in questions:
            found = _called(self.name, self.function, question.prompt, question.first, question.second)
            if found not in _CHOICES:
                raise JudgeError(f"judge = {self.name}: gave {found!r}. It must give one of {', '.join(_CHOICES)}.")
            keep(question, Verdict(cast("Choice", found)))


def _called(label: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function of the user.

    Raises:
        JudgeError: it fails.
    """
    try:
        return function(*arguments)
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        raise JudgeError(
            f"judge = {label}: failed on {shorten(repr(arguments[-1]), 60)} ({first_line(error)}, in {place.filename}, "
            f"line {place.lineno}). Correct the function; --traceback shows all."
        ) from error


def _number(label: str, score: Any) -> float | None:
    """A score as a number; None stays None."""
    try:
        return None if score is None else float(score)
    except (TypeError, ValueError):
        raise JudgeError(
            f"judge = {label}: gave the score {score!r}. It must return a number, or None for no score."
        ) from None


def function_judge(name: str) -> Judge:
    """A judge that calls a Python function.

    `score(prompt, completion)` returns a number, higher is better, or None for no score. `compare(prompt, first,
    second)` returns `first`, `second` or `tie`. Prompts are text, or tuples of `Message`. Stored verdicts are valid
    until the function's file changes.

    Args:
        name: `MODULE:FUNCTION`. Modules of the current folder can be imported, too.
    Raises:
        JudgeError: no such function, or other arguments.
    """
    label = f"python:{name}"
    function = _find(name, label)
    num_arguments = _num_arguments(function)
    if num_arguments == 2:
        score = partial(_called, label, function)
        return ScoringJudge(
            label, lambda prompts, completions: list(map(score, prompts, completions)), _identity(label, function)
        )
    if num_arguments == 3:
        return FunctionJudge(label, _identity(label, function), function)
    raise JudgeError(
        f"judge = {label}: takes {num_arguments} arguments. It must take (prompt, completion) and return a score, or "
        "(prompt, first, second) and return first, second or tie."
    )


def _find(name: str, label: str) -> Callable[..., Any]:
    module_name, _, function_name = name.partition(":")
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.append(folder)
    try:
        function = getattr(import_module(module_name), function_name)
    except (ImportError, AttributeError) as error:
        raise JudgeError(f"judge = {label}: cannot be imported. {error}. Name it as module:function.") from error
    if not callable(function):
        raise JudgeError(f"judge = {label}: is of type {type(function).__name__}. Name a function.")
    return cast("Callable[..., Any]", function)


def _num_arguments(function: Callable[..., Any]) -> int:
    by_position = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    return sum(item.kind in by_position and item.default is item.empty for item in parameters)


def _identity(label: str, function: Callable[..., Any]) -> str | None:
    """The function's name and a digest of its file; None if there is no file."""
    try:
        file = inspect.getsourcefile(function)
        content = Path(file).read_bytes() if file is not None else None
    except (TypeError, OSError):
        return None
    return None if content is None else f"{label} {hashlib.blake2b(content, digest_size=8).hexdigest()}"
