"""A row before any format has read it: where it comes from, and its fields or what is wrong with it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from preftune.errors import DataError
from preftune.groups import Origin

__all__ = ["BadRow", "Row"]


@dataclass(frozen=True, slots=True)
class Row:
    """The fields of one row, by column.

    >>> Row(Origin("prefs.jsonl", 3), {"prompt": "2+2="}).error("prompt", "is not a question.")
    DataError("prefs.jsonl:3: field 'prompt' is not a question.")
    """

    origin: Origin
    fields: Mapping[str, Any] = field(hash=False)

    def error(self, name: str, problem: str) -> DataError:
        """The error that names this row, a field and what is wrong with it."""
        return DataError(f"{self.origin}: field '{name}' {problem}")


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be used.

    Args:
        origin: Where it is.
        problem: What is wrong with it, in whole sentences.

    >>> print(BadRow(Origin("prefs.jsonl", 3), "the line is not UTF-8."))
    prefs.jsonl:3: the line is not UTF-8.
    """

    origin: Origin
    problem: str

    def __str__(self) -> str:
        return f"{self.origin}: {self.problem}"
