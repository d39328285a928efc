"""Rows with a prompt, a better and a worse completion."""

from preftune.data.formats.fields import as_conversation, read_completion, read_number, read_text
from preftune.data.formats.messages import start_of_completion
from preftune.data.rows import Row
from preftune.errors import DataError
from preftune.groups import Message, Pair, PromptGroup, Text

__all__ = ["pair_group", "read_pair"]


def read_pair(row: Row) -> PromptGroup:
    """A group of two completions and one pair, from `prompt`, `chosen` and `rejected`.

    All three are text, or some are lists of messages: then a prompt that is text becomes a user turn and a completion
    that is text an assistant turn. Completions that repeat the prompt at their start (whole conversations, as in
    UltraFeedback-binarized) are not doubled: the prompt is then the messages that both share. Optional: `margin`, and
    `score_chosen`, `score_rejected` or `chosen_score`, `rejected_score`.

    Raises:
        DataError: a field that is missing or of a wrong type; an empty completion; equal completions.

    >>> from preftune.groups import Origin
    >>> group = read_pair(Row(Origin("sums.jsonl", 1), {"prompt": "2+2=", "chosen": "4", "rejected": "5"}))
    >>> group.completions[0].content, group.pairs
    ('4', (Pair(chosen=0, rejected=1, margin=None),))
    """
    prompt, chosen, rejected = (read_text(row, name) for name in ("prompt", "chosen", "rejected"))
    if isinstance(prompt, str) and isinstance(chosen, str) and isinstance(rejected, str):
        return pair_group(row, prompt, chosen, rejected)
    whole = (as_conversation(chosen, "assistant"), as_conversation(rejected, "assistant"))
    if any(_repeats(prompt, conversation) for conversation in whole):
        start = start_of_completion(*whole)
        if start == 0:
            raise row.error("rejected", "does not start with the prompt as 'chosen' does, or the other way round.")
        return pair_group(row, whole[0][:start], whole[0][start:], whole[1][start:])
    return pair_group(row, as_conversation(prompt, "user"), *whole)


def pair_group(row: Row, prompt: Text, chosen: Text, rejected: Text) -> PromptGroup:
    """The group of one pair, with the margin and the scores that the row may hold.

    Raises:
        DataError: an empty completion; equal completions; a margin or score that is no finite number.
    """
    if chosen == rejected:
        raise DataError(f"{row.origin}: 'chosen' and 'rejected' are equal, so the pair does not say which is better.")
    completions = (
        read_completion(row, "chosen", chosen, _score(row, "chosen")),
        read_completion(row, "rejected", rejected, _score(row, "rejected")),
    )
    return PromptGroup(prompt, completions, (Pair(0, 1, read_number(row, "margin")),), row.origin)


def _score(row: Row, name: str) -> float | None:
    score = read_number(row, f"score_{name}")
    return read_number(row, f"{name}_score") if score is None else score


def _repeats(prompt: Text, conversation: tuple[Message, ...]) -> bool:
    if not isinstance(prompt, str):
        return conversation[: len(prompt)] == prompt
    turns = (message.content.strip() for message in conversation if message.role == "user")
    return conversation[0].role != "assistant" and prompt.strip() in turns
