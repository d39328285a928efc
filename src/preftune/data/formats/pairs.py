"""Formats with a better and a worse completion: pairs, Orca pairs, transcripts."""

from collections.abc import Collection, Mapping
from typing import Any

from preftune.data.conversations import end_of_prompt
from preftune.data.formats.completions import read_extra_scores, read_weights
from preftune.data.formats.fields import (
    as_conversation,
    read_completion,
    read_number,
    read_string,
    read_text,
    start_of_completion,
)
from preftune.data.formats.format import Format, GuessedPrompt, each_scored_row
from preftune.data.rows import Row
from preftune.errors import DataError
from preftune.groups import Completion, Message, Pair, PromptGroup, Text, common_start

PAIR_OPTIONAL = (
    "margin",
    "score_chosen",
    "score_rejected",
    "chosen_score",
    "rejected_score",
    "chosen_weights",
    "rejected_weights",
)
"""Columns that `pair_group` reads if they are there."""

PAIR_STRUCTURES = ("chosen_weights", "rejected_weights")
"""Names of the columns that hold lists."""

PAIR_EXTRA = ("chosen_{}", "rejected_{}")
"""Columns of an auxiliary score."""


def read_pair(row: Row, extra_scores: Collection[str]) -> PromptGroup:
    """A group of two completions and one pair, from `prompt`, `chosen` and `rejected`.

    If any of them is a list of messages, a text prompt becomes a user turn and a text completion an assistant turn. If
    the completions are whole conversations that start with the prompt (as in UltraFeedback-binarized), the prompt is
    the messages that both share. Optional: `margin`;
    `score_chosen`, `score_rejected` or `chosen_score`, `rejected_score`; `chosen_weights`, `rejected_weights`; and
    `chosen_<name>`, `rejected_<name>` for each auxiliary score.

    >>> from preftune.groups import Origin
    >>> group = read_pair(Row(Origin("sums.jsonl", 1), {"prompt": "2+2=", "chosen": "4", "rejected": "5"}), ())
    >>> group.completions[0].content, group.pairs
    ('4', (Pair(chosen=0, rejected=1, margin=None),))
    """
    prompt, chosen, rejected = (read_text(row, name) for name in ("prompt", "chosen", "rejected"))
    if not (isinstance(prompt, str) and isinstance(chosen, str) and isinstance(rejected, str)):
        prompt, chosen, rejected = _conversations(row, prompt, chosen, rejected)
    return pair_group(row, prompt, chosen, rejected, extra_scores=extra_scores)


def pair_group(
    row: Row, prompt: Text, chosen: Text, rejected: Text, *, extra_scores: Collection[str], num_before: int = 0
) -> PromptGroup:
    """The group of one pair, with the margin, scores and weights in the row.

    Args:
        num_before: Characters before the completions in the fields `chosen` and `rejected`, which weights count too.
    """
    if chosen == rejected:
        raise DataError(
            f"{row.origin}: 'chosen' and 'rejected' are equal, so the pair does not say which is better.", fault="equal"
        )

    def completion(name: str, content: Text) -> Completion:
        return read_completion(
            row,
            name,
            content,
            score=_score(row, name),
            extra_scores=read_extra_scores(row, extra_scores, f"{name}_{{}}"),
            weights=read_weights(row, f"{name}_weights", content, num_before=num_before),
        )

    completions = (completion("chosen", chosen), completion("rejected", rejected))
    return PromptGroup(prompt, completions, (Pair(0, 1, read_number(row, "margin")),), row.origin)


def _conversations(
    row: Row, prompt: Text, chosen: Text, rejected: Text
) -> tuple[tuple[Message, ...], tuple[Message, ...], tuple[Message, ...]]:
    whole = (as_conversation(chosen, "assistant"), as_conversation(rejected, "assistant"))
    if not any(_repeats(prompt, conversation) for conversation in whole):
        return as_conversation(prompt, "user"), *whole
    start = start_of_completion(*whole)
    if start == 0:
        raise row.error("rejected", "does not start with the prompt as 'chosen' does, or the other way round.")
    return whole[0][:start], whole[0][start:], whole[1][start:]


def _score(row: Row, name: str) -> float | None:
    score = read_number(row, f"score_{name}")
    return read_number(row, f"{name}_score") if score is None else score


def _repeats(prompt: Text, conversation: tuple[Message, ...]) -> bool:
    if not isinstance(prompt, str):
        return conversation[: len(prompt)] == prompt
    turns = (message.content.strip() for message in conversation if message.role == "user")
    return conversation[0].role != "assistant" and prompt.strip() in turns


def read_orca(row: Row, extra_scores: Collection[str]) -> PromptGroup:
    """A group of two completions and one pair, from `question`, `chosen` and `rejected`.

    All three are text and become turns. Optional: all that is optional for pairs.

    Source: https://huggingface.co/datasets/Intel/orca_dpo_pairs

    >>> from preftune.groups import Origin
    >>> fields = {"question": "2+2=", "chosen": "4", "rejected": "It is 4."}
    >>> [message.role for message in read_orca(Row(Origin("orca.jsonl", 1), fields), ()).prompt]
    ['user']
    """
    prompt = as_conversation(read_string(row, "question"), "user")
    chosen, rejected = (as_conversation(read_string(row, name), "assistant") for name in ("chosen", "rejected"))
    return pair_group(row, prompt, chosen, rejected, extra_scores=extra_scores)


def read_transcripts(row: Row, extra_scores: Collection[str]) -> PromptGroup:
    r"""A group of two completions and one pair, from `chosen` and `rejected` which both start with the prompt.

    The prompt is the part that both share. Messages: up to the point at which both continue with an assistant turn.
    Text with the speakers of Anthropic's HH: up to and including the last shared `\n\nAssistant:`. Other text: the
    longest common start, cut back to the end of a word; white space after it belongs to the completions. Optional: all
    that is optional for pairs; weights of text count the characters of the whole transcript.

    >>> from preftune.groups import Origin
    >>> fields = {"chosen": "The sky is blue", "rejected": "The sky is bleak"}
    >>> group = read_transcripts(Row(Origin("skies.jsonl", 1), fields), ())
    >>> group.prompt, group.completions[0].content
    ('The sky is', ' blue')
    """
    chosen, rejected = read_text(row, "chosen"), read_text(row, "rejected")
    if isinstance(chosen, str) and isinstance(rejected, str):
        start = _start_of_text(chosen, rejected)
    elif not isinstance(chosen, str) and not isinstance(rejected, str):
        start = start_of_completion(chosen, rejected)
    else:
        raise row.error("rejected", "is not of the kind of 'chosen'. Both must be text, or both lists of messages.")
    if start == 0:
        raise DataError(
            f"{row.origin}: 'chosen' and 'rejected' share no start that could be the prompt. "
            "Both must begin with the same prompt, or the prompt must be a separate field, 'prompt'."
        )
    num_before = start if isinstance(chosen, str) else 0
    parts = (chosen[:start], chosen[start:], rejected[start:])
    return pair_group(row, *parts, extra_scores=extra_scores, num_before=num_before)


def _marks_prompt(fields: Mapping[str, Any]) -> bool:
    """True if two transcripts tell where the prompt ends: by turns, or by a marker that both share."""
    chosen, rejected = fields.get("chosen"), fields.get("rejected")
    if isinstance(chosen, str) and isinstance(rejected, str):
        return end_of_prompt(common_start(chosen, rejected)) is not None
    return not (_is_answer(chosen) and _is_answer(rejected))


def _is_answer(value: Any) -> bool:
    """True for text, and for turns that begin with the assistant's, so that no prompt precedes them."""
    if isinstance(value, str):
        return True
    first = next(iter(value), None) if isinstance(value, list | tuple) else value
    return isinstance(first, Mapping) and first.get("role") == "assistant"


def _start_of_text(chosen: str, rejected: str) -> int:
    shared = common_start(chosen, rejected)
    if (end := end_of_prompt(shared)) is not None:
        return end
    if all(text[len(shared) : len(shared) + 1].isspace() for text in (chosen, rejected)):
        return len(shared.rstrip())
    in_word = next((count for count, letter in enumerate(reversed(shared)) if letter.isspace()), len(shared))
    return len(shared[: len(shared) - in_word].rstrip())


PAIRS = Format(
    name="pairs",
    about="a prompt, a better and a worse completion",
    required=(("prompt", "chosen", "rejected"),),
    optional=PAIR_OPTIONAL,
    extra=PAIR_EXTRA,
    structures=PAIR_STRUCTURES,
    read=each_scored_row(read_pair),
)

ORCA = Format(
    name="orca",
    about="Orca pairs: a system prompt, a question, a better and a worse answer",
    required=(("question", "chosen", "rejected"),),
    optional=PAIR_OPTIONAL,
    extra=PAIR_EXTRA,
    structures=PAIR_STRUCTURES,
    read=each_scored_row(read_orca),
)

TRANSCRIPTS = Format(
    name="transcripts",
    about="HH: two whole conversations with the same start, the better and the worse",
    required=(("chosen", "rejected"),),
    optional=PAIR_OPTIONAL,
    extra=PAIR_EXTRA,
    structures=PAIR_STRUCTURES,
    guessed_prompt=GuessedPrompt(_marks_prompt),
    read=each_scored_row(read_transcripts),
)
