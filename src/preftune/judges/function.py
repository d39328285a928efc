"""A Python function as a judge."""

import hashlib
import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, cast, final

from preftune.errors import JudgeError
from preftune.judges.comparison import Choice, Question, Verdict
from preftune.judges.judge import Judge, Keep
from preftune.judges.scores import ScoringJudge

__all__ = ["FunctionJudge", "function_judge"]

_CHOICES = ("first", "second", "tie")


@final
@dataclass(frozen=True, slots=True, eq=False)
class FunctionJudge:
    """Calls a function for each question, one after the other.

    Args:
        name, identity: See `Judge`.
        function: (prompt, first, second) -> "first", "second" or "tie".
    """

    name: str
    identity: str | None
    function: Callable[..., Any]
    asks_both_orders: bool = True

    def ask(self, questions: Sequence[Question], keep: Keep) -> None:
        """See `Judge.ask`."""
        for question in questions:
            found = self.function(question.prompt, question.first, question.second)
            if found not in _CHOICES:
                raise JudgeError(f"judge = {self.name}: gave {found!r}. It must give one of {', '.join(_CHOICES)}.")
            keep(question, Verdict(cast("Choice", found)))


def function_judge(name: str) -> Judge:
    """The judge that a function is.

    `score(prompt, completion)` gives a number, higher is better; `compare(prompt, first, second)` gives `first`,
    `second` or `tie`. Prompts are text, or tuples of `Message`. Verdicts are kept until the file of the function
    changes.

    Args:
        name: `MODULE:FUNCTION`; modules are looked for in the current folder, too.
    Raises:
        JudgeError: there is no such function, or it takes something else.
    """
    label = f"python:{name}"
    function = _find(name, label)
    num_arguments = _num_arguments(function)
    if num_arguments == 2:
        return ScoringJudge(
            label, lambda items: [float(function(prompt, text)) for prompt, text in items], _identity(label, function)
        )
    if num_arguments == 3:
        return FunctionJudge(label, _identity(label, function), function)
    raise JudgeError(
        f"judge = {label}: takes {num_arguments} arguments. It must take (prompt, completion) and give a score, or "
        "(prompt, first, second) and give first, second or tie."
    )


def _find(name: str, label: str) -> Callable[..., Any]:
    module_name, _, function_name = name.partition(":")
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.append(folder)
    try:
        function = getattr(import_module(module_name), function_name)
    except (ImportError, AttributeError) as error:
        raise JudgeError(f"judge = {label}: cannot be found. {error}. Name it as module:function.") from error
    if not callable(function):
        raise JudgeError(f"judge = {label}: is of type {type(function).__name__}. Name a function.")
    return cast("Callable[..., Any]", function)


def _num_arguments(function: Callable[..., Any]) -> int:
    """Arguments that must be given by position."""
    by_position = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    return sum(item.kind in by_position and item.default is item.empty for item in parameters)


def _identity(label: str, function: Callable[..., Any]) -> str | None:
    """The function with a digest of its file; None where there is no file."""
    try:
        file = inspect.getsourcefile(function)
        content = Path(file).read_bytes() if file is not None else None
    except (TypeError, OSError):
        return None
    return None if content is None else f"{label} {hashlib.blake2b(content, digest_size=8).hexdigest()}"
