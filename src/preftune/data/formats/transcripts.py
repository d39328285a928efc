"""Rows with two whole transcripts, whose shared start is the prompt."""

from collections.abc import Collection

from preftune.data.formats.fields import read_text
from preftune.data.formats.messages import start_of_completion
from preftune.data.formats.pairs import pair_group
from preftune.data.rows import Row
from preftune.errors import DataError
from preftune.groups import PromptGroup, common_start

__all__ = ["read_transcripts"]

_ASSISTANT = "\n\nAssistant:"


def read_transcripts(row: Row, extra_scores: Collection[str] = ()) -> PromptGroup:
    r"""A group of two completions and one pair, from `chosen` and `rejected` which both start with the prompt.

    Messages: the prompt is what both share, up to where both go on with an assistant turn. Text with the markers of
    Anthropic's HH: up to and with the last shared `\n\nAssistant:`. Other text: the longest common start, cut back to
    the end of a word; the white space after it goes with the completions. Optional: all that is optional for pairs;
    weights of text count the characters of the whole transcript.

    Raises:
        DataError: a field that is missing or of a wrong type; no shared start; an empty completion; equal completions.

    >>> from preftune.groups import Origin
    >>> fields = {"chosen": "The sky is blue", "rejected": "The sky is bleak"}
    >>> group = read_transcripts(Row(Origin("skies.jsonl", 1), fields))
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
            "Both must begin with the same prompt, or the prompt must be a field of its own, 'prompt'."
        )
    num_before = start if isinstance(chosen, str) else 0
    parts = (chosen[:start], chosen[start:], rejected[start:])
    return pair_group(row, *parts, extra_scores=extra_scores, num_before=num_before)


def _start_of_text(chosen: str, rejected: str) -> int:
    shared = common_start(chosen, rejected)
    marker = shared.rfind(_ASSISTANT)
    if marker >= 0:
        return marker + len(_ASSISTANT)
    if all(text[len(shared) : len(shared) + 1].isspace() for text in (chosen, rejected)):
        return len(shared.rstrip())
    in_word = next((count for count, letter in enumerate(reversed(shared)) if letter.isspace()), len(shared))
    return len(shared[: len(shared) - in_word].rstrip())
