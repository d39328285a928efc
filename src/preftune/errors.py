"""The exceptions that preftune raises on purpose, for problems that a user can fix.

PreftuneError
 +- ConfigError (ValueError)       settings
 +- DataError (ValueError)         a file, row or field of the data
 +- TokenizerError (ValueError)    a tokenizer
 +- ModelError (ValueError)        a model
 +- OutputError (OSError)          an output folder or file
 +- SaveError (OSError)            writing a model or checkpoint
 +- CacheError (OSError)           cached log-probs
 |   +- BrokenCacheError           a damaged cache file
 +- TrainingError (RuntimeError)   a run that cannot continue
 +- JudgeError (RuntimeError)      a judge that cannot be asked or gives no valid answer

Each is also the standard-library exception in parentheses, so `except ValueError` keeps working. A message has three
parts: the problem, with the value and its place; the reason; the fix.
"""

from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from difflib import get_close_matches
from typing import Literal, Self

names_flags: ContextVar[bool] = ContextVar("names_flags", default=False)
"""True while the command line runs: messages name its flags, and Python calls have keywords instead."""


_LONGEST_VALUE = 200


class PreftuneError(Exception):
    """Base of all errors that preftune raises on purpose.

    `is_of_main` is true on the other ranks of a run whose main process raised the error.
    """

    is_of_main: bool = False


class Problem(str):
    """The text `setting = value: text`, with its parts.

    >>> problem = Problem("tau", 0, "must be above 0.")
    >>> problem, problem.under("beta")
    ('tau = 0: must be above 0.', 'beta = 0: must be above 0.')
    """

    __slots__ = ("setting", "text", "value")
    setting: str
    value: object
    text: str

    def __new__(cls, setting: str, value: object, text: str) -> Self:
        shown = str(value)
        shown = shown if len(shown) <= _LONGEST_VALUE else shown[:_LONGEST_VALUE] + "..."
        problem = super().__new__(cls, f"{setting} = {shown}: {text}")
        problem.setting, problem.value, problem.text = setting, value, text
        return problem

    def under(self, setting: str) -> Self:
        """The same problem with another name of the setting."""
        return type(self)(setting, self.value, self.text)

    def __reduce__(self) -> tuple[type[Self], tuple[str, object, str]]:
        return type(self), (self.setting, self.value, self.text)


class ConfigError(PreftuneError, ValueError):
    """Settings that cannot work. Holds all problems found, not just the first.

    >>> print(ConfigError(["beta = -1: must be above 0.", "epochs = 0: must be at least 1."]))
    2 settings cannot work:
      - beta = -1: must be above 0.
      - epochs = 0: must be at least 1.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(problems)

    def __str__(self) -> str:
        if len(self.problems) == 1:
            return self.problems[0]
        return "\n  - ".join([f"{len(self.problems)} settings cannot work:", *self.problems])


DataFault = Literal["equal", "empty", "other"]
"""Kind of a fault in a row: chosen equals rejected, a completion is empty, or anything else."""


class DataError(PreftuneError, ValueError):
    """A file, row or field of the data that cannot be used.

    Args:
        message: The problem.
        fault: Its kind. Checks and `preftune clean` sort rows by it, never by the message.
    """

    def __init__(self, message: str, *, fault: DataFault = "other") -> None:
        super().__init__(message)
        self.fault: DataFault = fault


class TokenizerError(PreftuneError, ValueError):
    """A tokenizer that is missing, or does not fit the data or the model."""


class ModelError(PreftuneError, ValueError):
    """A model that cannot be loaded or cannot be trained as asked."""


class OutputError(PreftuneError, OSError):
    """An output folder that cannot be used."""


class SaveError(PreftuneError, OSError):
    """A model or checkpoint could not be written, for want of space for example."""


class CacheError(PreftuneError, OSError):
    """Kept log-probs that cannot be read, written or found."""


class BrokenCacheError(CacheError):
    """A file that should hold kept log-probs, but is damaged or of another program."""


class TrainingError(PreftuneError, RuntimeError):
    """A run that cannot go on, such as one whose loss is NaN."""


class JudgeError(PreftuneError, RuntimeError):
    """A judge that cannot be asked, or does not answer as a judge must."""


def first_line(error: Exception) -> str:
    """Type and first line of an exception, for one line on the console.

    >>> first_line(RuntimeError("CUDA out of memory.\\nMore on it"))
    'RuntimeError: CUDA out of memory.'
    """
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint at the known name that is closest to `name`; empty if none is close.

    >>> did_you_mean("simpoo", ["dpo", "simpo"]), did_you_mean("taste", ["dpo", "simpo"])
    ('Did you mean simpo?', '')
    """
    near = get_close_matches(name, list(known), n=1)
    return f"Did you mean {near[0]}?" if near else ""
