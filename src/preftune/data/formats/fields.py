"""Type-checked fields of a row. `row` and `name` name the field in errors; `value` is the field or a part of it.

All raise DataError for a value that is missing, of another type, out of its range, or not Unicode text.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any, SupportsFloat

from preftune.data.rows import Row
from preftune.groups import Completion, Message, Text, WeightedSpan


def to_message(row: Row, name: str, value: Any) -> Message:
    """A value as a message: an object with `role` and `content`; other fields are kept for the chat template."""
    if not isinstance(value, Mapping):
        raise row.error(name, f"is of type {type(value).__name__}. A message is an object with 'role' and 'content'.")
    role = value.get("role")
    if not isinstance(role, str) or not role:
        raise row.error(name, f"has the role {role!r:.40}. A message is an object with 'role' and 'content'.")
    # In tables every message has every field of any message; those that do not apply are None.
    extra = {key: item for key, item in value.items() if key not in ("role", "content") and item is not None}
    content = value.get("content")
    if content is None and not extra:
        raise row.error(name, "has no content. A message is an object with 'role' and 'content'.")
    message = Message(role, "" if content is None else _read_content(row, name, content), extra)
    if not (_is_unicode(message.content) and _is_unicode(message.role)):
        raise row.error(name, "holds half of a surrogate pair, which is not text.")
    return message


def _read_content(row: Row, name: str, content: Any) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list | tuple):
        raise row.error(name, f"has content of type {type(content).__name__}. It must be text or a list of text parts.")
    return "".join(_read_part(row, f"{name}.content[{index}]", part) for index, part in enumerate(content))


def _read_part(row: Row, name: str, part: Any) -> str:
    if isinstance(part, str):
        return part
    kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
    if not isinstance(part, Mapping) or kind != "text" or not isinstance(part.get("text"), str):
        raise row.error(name, f"is a part of type {kind!r:.40}. Only parts of type 'text' can be learned from.")
    return str(part["text"])


def start_of_completion(chosen: Sequence[Message], rejected: Sequence[Message]) -> int:
    """Index of the last message before which two conversations agree and at which both have an assistant turn.

    >>> question, four, five = Message("user", "2+2="), Message("assistant", "4"), Message("assistant", "5")
    >>> start_of_completion([question, four], [question, five])
    1
    """
    start = sum(1 for _ in takewhile(lambda turns: turns[0] == turns[1], zip(chosen, rejected, strict=False)))
    while start > 0 and not (_is_assistant_at(chosen, start) and _is_assistant_at(rejected, start)):
        start -= 1
    return start


def _is_assistant_at(messages: Sequence[Message], index: int) -> bool:
    return index < len(messages) and messages[index].role == "assistant"


def read_text(row: Row, name: str) -> Text:
    """A field that is plain text or a list of messages.

    >>> from preftune.groups import Origin
    >>> read_text(Row(Origin("prefs.jsonl", 1), {"prompt": "2+2="}), "prompt")
    '2+2='
    """
    return to_text(row, name, row.fields.get(name))


def to_text(row: Row, name: str, value: Any) -> Text:
    """A value as plain text or messages. A single message needs no list."""
    if value is None or isinstance(value, str):
        return to_string(row, name, value)
    if isinstance(value, list | tuple):
        if not value:
            raise row.error(name, "is an empty list. It must hold at least one message.")
        return tuple(to_message(row, f"{name}[{index}]", message) for index, message in enumerate(value))
    if isinstance(value, Mapping):
        return (to_message(row, name, value),)
    raise row.error(name, f"is of type {type(value).__name__}. It must be text or a list of messages.")


def read_string(row: Row, name: str) -> str:
    """A field that is plain text."""
    return to_string(row, name, row.fields.get(name))


def to_string(row: Row, name: str, value: Any) -> str:
    """A value as plain text."""
    if value is None:
        raise row.error(name, "is missing.")
    if not isinstance(value, str):
        raise row.error(name, f"is of type {type(value).__name__}. It must be text.")
    if not _is_unicode(value):
        raise row.error(name, "holds half of a surrogate pair, which is not text.")
    return value


def read_number(row: Row, name: str) -> float | None:
    """A field that is a finite number, or None if it is missing or blank. CSV files give numbers as text."""
    value: Any = row.fields.get(name)
    return None if is_blank(value) else to_number(row, name, value)


def is_blank(value: Any) -> bool:
    """True if a field is missing or blank. CSV files leave such fields empty."""
    return value is None or (isinstance(value, str) and not value.strip())


def to_number(row: Row, name: str, value: Any) -> float:
    """A value as a finite number."""
    if isinstance(value, bool) or not isinstance(value, SupportsFloat | str):
        raise row.error(name, f"is of type {type(value).__name__}. It must be a number.")
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise row.error(name, f"is {value!r:.40}. It must be a number.") from None
    if not math.isfinite(number):
        raise row.error(name, f"is {number}. It must be a finite number.")
    return number


def read_choice(row: Row, name: str, number: int) -> int:
    """A field that is an index from 0 to `number` - 1."""
    value: Any = row.fields.get(name)
    if is_blank(value):
        raise row.error(name, "is missing.")
    return to_choice(row, name, value, number)


def to_choice(row: Row, name: str, value: Any, number: int) -> int:
    """A value as a whole number from 0 to `number` - 1."""
    chosen = float(value) if isinstance(value, bool) else to_number(row, name, value)
    if chosen not in range(number):
        raise row.error(name, f"is {value!r:.40}. It must be a whole number from 0 to {number - 1}.")
    return int(chosen)


def read_items(row: Row, name: str, what: str, *, length: int | None = None) -> list[Any]:
    """A field that is a list.

    Args:
        what: Description of its items, for errors, such as "a number for each completion".
        length: Required number of items. Default: at least one.
    """
    value: Any = row.fields.get(name)
    if is_blank(value):
        raise row.error(name, "is missing.")
    if not isinstance(value, list | tuple):
        raise row.error(name, f"is of type {type(value).__name__}. It must be a list with {what}.")
    if length is None and not value:
        raise row.error(name, f"is an empty list. It must hold {what}.")
    if length is not None and len(value) != length:
        raise row.error(name, f"has {len(value)} items, but there are {length} completions. It must hold {what}.")
    return list(value)


def read_completion(
    row: Row,
    name: str,
    content: Text,
    *,
    score: float | None = None,
    extra_scores: Mapping[str, float] | None = None,
    weights: tuple[WeightedSpan, ...] = (),
) -> Completion:
    """The completion in a field.

    Raises:
        DataError: it is blank, or its first message is not the assistant's.
    """
    if isinstance(content, str):
        is_empty = not content.strip()
    else:
        is_empty = not any(message.content.strip() or message.extra for message in content)
    if is_empty:
        raise row.error(name, "has an empty completion. It has nothing to learn from.", fault="empty")
    if not isinstance(content, str) and content[0].role != "assistant":
        raise row.error(name, f"has a completion that starts with a turn of '{content[0].role}', not of the assistant.")
    return Completion(content, score, extra_scores=extra_scores or {}, weights=weights)


def as_conversation(text: Text, role: str) -> tuple[Message, ...]:
    """Messages unchanged, or plain text as one message of a role.

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


def read_objects(row: Row, name: str, what: str) -> list[Mapping[str, Any]]:
    """A field that is a list of objects, at least one.

    One object of lists, as `datasets` stores some such lists, is accepted too.

    Args:
        what: Description of its items, for errors, such as "the answers".

    >>> from preftune.groups import Origin
    >>> row = Row(Origin("prefs", 1), {"answers": {"text": ["4", "5"], "rank": [1, 2]}})
    >>> read_objects(row, "answers", "the answers")
    [{'text': '4', 'rank': 1}, {'text': '5', 'rank': 2}]
    """
    value = row.fields.get(name)
    if isinstance(value, Mapping):
        return _turned(row, name, value)
    items = read_items(row, name, what)
    for index, item in enumerate(items):
        if not isinstance(item, Mapping):
            raise row.error(f"{name}[{index}]", f"is of type {type(item).__name__}. It must be an object.")
    return items


def _turned(row: Row, name: str, columns: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    lengths = {len(column) if isinstance(column, list | tuple) else None for column in columns.values()}
    if len(lengths) != 1 or None in lengths or 0 in lengths:
        raise row.error(name, "is an object. It must be a list of objects, or an object of lists of equal length.")
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
