"""Rows with one completion to imitate."""

from preftune.data.formats.fields import as_conversation, read_completion, read_text
from preftune.data.rows import Row
from preftune.groups import PromptGroup

__all__ = ["read_demonstration"]


def read_demonstration(row: Row) -> PromptGroup:
    """A group of one completion and no pairs, from `prompt` and `completion`, or from `messages`.

    Of `messages`, the last turn is the completion and must be the assistant's; all before it is the prompt.

    Raises:
        DataError: a field that is missing or of a wrong type; an empty completion; no turn before the last.

    >>> from preftune.groups import Origin
    >>> turns = [{"role": "user", "content": "2+2="}, {"role": "assistant", "content": "4"}]
    >>> read_demonstration(Row(Origin("sums.jsonl", 1), {"messages": turns})).completions[0].content[0].content
    '4'
    """
    if row.fields.get("completion") is None and row.fields.get("messages") is not None:
        return _read_conversation(row)
    prompt, completion = read_text(row, "prompt"), read_text(row, "completion")
    if not (isinstance(prompt, str) and isinstance(completion, str)):
        prompt, completion = as_conversation(prompt, "user"), as_conversation(completion, "assistant")
    return PromptGroup(prompt, (read_completion(row, "completion", completion),), (), row.origin)


def _read_conversation(row: Row) -> PromptGroup:
    messages = read_text(row, "messages")
    if isinstance(messages, str):
        raise row.error("messages", "is text. It must be a list of messages.")
    if messages[-1].role != "assistant":
        raise row.error(
            "messages", f"ends with a turn of '{messages[-1].role}'. The assistant must have the last turn."
        )
    if len(messages) == 1:
        raise row.error("messages", "has a single turn. There must be a prompt before the assistant's turn.")
    return PromptGroup(messages[:-1], (read_completion(row, "messages", messages[-1:]),), (), row.origin)
