"""Lists of messages."""

from collections.abc import Mapping, Sequence
from typing import Any

from preftune.data.rows import Row
from preftune.groups import Message

__all__ = ["read_message", "read_messages", "start_of_completion"]


def read_messages(row: Row, name: str, value: Sequence[Any]) -> tuple[Message, ...]:
    """Messages of a field: objects with `role` and `content`; other fields are kept for the chat template."""
    if not value:
        raise row.error(name, "is an empty list. It must hold at least one message.")
    return tuple(read_message(row, f"{name}[{index}]", message) for index, message in enumerate(value))


def read_message(row: Row, name: str, value: Any) -> Message:
    """One message, as in `read_messages`."""
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
    return Message(role, "" if content is None else _read_content(row, name, content), extra)


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


def num_shared_messages(first: Sequence[Message], second: Sequence[Message]) -> int:
    """The number of messages that two conversations share at their start."""
    count = 0
    while count < min(len(first), len(second)) and first[count] == second[count]:
        count += 1
    return count


def start_of_completion(chosen: Sequence[Message], rejected: Sequence[Message]) -> int:
    """Index of the last message before which two conversations agree and at which both have an assistant turn.

    >>> question, four, five = Message("user", "2+2="), Message("assistant", "4"), Message("assistant", "5")
    >>> start_of_completion([question, four], [question, five])
    1
    """
    start = num_shared_messages(chosen, rejected)
    while start > 0 and not (_is_assistant_at(chosen, start) and _is_assistant_at(rejected, start)):
        start -= 1
    return start


def _is_assistant_at(messages: Sequence[Message], index: int) -> bool:
    return index < len(messages) and messages[index].role == "assistant"
