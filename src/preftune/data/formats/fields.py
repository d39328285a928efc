"""Fields of a row, read with their types checked."""

import math
from typing import Any, SupportsFloat

from preftune.data.formats.messages import read_messages
from preftune.data.rows import Row
from preftune.groups import Completion, Message, Text

__all__ = ["as_conversation", "read_completion", "read_number", "read_text"]


def read_text(row: Row, name: str) -> Text:
    """A field that is plain text or a list of messages.

    Raises:
        DataError: the field is missing, of another type, an empty list, or not Unicode text.

    >>> from preftune.groups import Origin
    >>> read_text(Row(Origin("prefs.jsonl", 1), {"prompt": "2+2="}), "prompt")
    '2+2='
    """
    value: Any = row.fields.get(name)
    if value is None:
        raise row.error(name, "is missing.")
    if isinstance(value, str):
        if not _is_unicode(value):
            raise row.error(name, "holds half of a surrogate pair, which is not text.")
        return value
    if isinstance(value, list | tuple):
        messages = read_messages(row, name, value)
        if not all(_is_unicode(message.content) for message in messages):
            raise row.error(name, "holds half of a surrogate pair, which is not text.")
        return messages
    raise row.error(name, f"is of type {type(value).__name__}. It must be text or a list of messages.")


def read_number(row: Row, name: str) -> float | None:
    """A field that is a finite number, or None where it is missing or blank. CSV files give numbers as text.

    Raises:
        DataError: the field is not a number, or not a finite one.
    """
    value: Any = row.fields.get(name)
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, bool) or not isinstance(value, SupportsFloat | str):
        raise row.error(name, f"is of type {type(value).__name__}. It must be a number.")
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise row.error(name, f"is {value!r:.40}. It must be a number.") from None
    if not math.isfinite(number):
        raise row.error(name, f"is {number}. It must be a finite number.")
    return number


def read_completion(row: Row, name: str, content: Text, score: float | None = None) -> Completion:
    """The completion that a field holds.

    Args:
        row, name: Where the completion comes from, for errors.
        content: The completion itself, without the prompt.
        score: How good it is, where that is known.
    Raises:
        DataError: it is blank, or its first message is not the assistant's.
    """
    if isinstance(content, str):
        if not content.strip():
            raise row.error(name, "has an empty completion. It has nothing to learn from.")
        return Completion(content, score)
    if not content or not any(message.content.strip() or message.extra for message in content):
        raise row.error(name, "has an empty completion. It has nothing to learn from.")
    if content[0].role != "assistant":
        raise row.error(name, f"has a completion that starts with a turn of '{content[0].role}', not of the assistant.")
    return Completion(content, score)


def as_conversation(text: Text, role: str) -> tuple[Message, ...]:
    """Messages as they are, plain text as one message of a role.

    >>> as_conversation("4", "assistant")
    (Message(role='assistant', content='4', extra={}),)
    """
    return (Message(role, text),) if isinstance(text, str) else text


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
