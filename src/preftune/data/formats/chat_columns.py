"""Columns that a chat template is given: a system prompt, tools, and further variables."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from preftune.data.conversations import as_turns, conversation_of
from preftune.data.formats.fields import is_blank, read_string, read_text
from preftune.data.rows import Row
from preftune.errors import DataError
from preftune.groups import Message, Prompt, PromptGroup, TemplateInputs

CHAT_COLUMNS = ("system", "tools", "chat_template_kwargs")
"""Optional columns of every format with a row per prompt."""


def with_chat_columns(row: Row, group: PromptGroup) -> PromptGroup:
    """The group of a row with the row's system prompt, tools and variables of the chat template.

    A system prompt makes a conversation of text.

    Raises:
        DataError: a column of the wrong type, or a system prompt beside another one in the messages.

    >>> from preftune.groups import Completion, Origin
    >>> row = Row(Origin("sums.jsonl", 1), {"system": "Be brief."})
    >>> found = with_chat_columns(row, PromptGroup("2+2=", (Completion("4"),), (), row.origin))
    >>> [message.role for message in found.prompt]
    ['system', 'user']
    """
    if not any(name in row.fields for name in CHAT_COLUMNS):
        return group
    if not is_blank(row.fields.get("system")):
        group = conversation_of(group)
        group = replace(group, prompt=_with_system(row, as_turns(group.prompt)))
    inputs = _inputs(row)
    return replace(group, inputs=inputs) if inputs else group


def prompt_of(row: Row) -> Prompt:
    """The prompt of a row that has the column `prompt`, with the columns of the chat template."""
    text = read_text(row, "prompt")
    if not is_blank(row.fields.get("system")):
        text = _with_system(row, as_turns(text))
    return Prompt(text, _inputs(row))


def _with_system(row: Row, turns: tuple[Message, ...]) -> tuple[Message, ...]:
    system = Message("system", read_string(row, "system"))
    own = turns[0] if turns[0].role == "system" else None
    if own is not None and own.content.strip() != system.content.strip():
        raise row.error("system", "is not the system turn that the messages begin with. Leave out one of them.")
    return turns if own is not None else (system, *turns)


def _inputs(row: Row) -> TemplateInputs:
    tools = _structure(row, "tools", list | tuple, "a list of tools, each an object")
    variables = _structure(row, "chat_template_kwargs", Mapping, "an object of variables of the chat template")
    try:
        return TemplateInputs(
            tuple(map(_without_empty, tools or ())),
            # In tables every row has every variable of any row; those that do not apply are None.
            {name: value for name, value in (variables or {}).items() if value is not None},
        )
    except DataError as error:
        raise DataError(f"{row.origin}: field {error}") from None


def _structure(row: Row, name: str, kind: Any, what: str) -> Any:
    """The value of a field, also from JSON text; None if it is blank."""
    value: Any = row.fields.get(name)
    if is_blank(value):
        return None
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise row.error(name, f"is text, but not JSON: {value!r:.40}. It must be {what}.") from None
    if value is not None and not isinstance(value, kind):
        raise row.error(name, f"is of type {type(value).__name__}. It must be {what}.")
    return value


def _without_empty(value: Any) -> Any:
    """A tool without the fields that a table has added as None."""
    if isinstance(value, Mapping):
        return {name: _without_empty(item) for name, item in value.items() if item is not None}
    return list(map(_without_empty, value)) if isinstance(value, list | tuple) else value
