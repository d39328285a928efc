"""Text as the turns of a conversation: transcripts by their speakers, other text as a single turn."""

import re
from collections.abc import Sequence
from dataclasses import replace

from preftune.groups import Completion, Message, Pair, PromptGroup, Text, WeightedSpan

_SPEAKER = r"(?:\#{1,4}[^\S\n]*|<)?(Human|HUMAN|User|USER|Assistant|ASSISTANT|System|SYSTEM|human|bot)>?:"
_ROLES = {"human": "user", "user": "user", "assistant": "assistant", "bot": "assistant", "system": "system"}
_FIRST = re.compile(rf"\A\s*{_SPEAKER}")
_GAPS = (r"\n[^\S\n]*\n\s*", r"\n\s*", r"\s+")
"""White space before a speaker: an empty line, else a line break, else any. The first that gives turns is used."""

_MARKERS = tuple(re.compile(rf"(?:\A\s*|{gap}){_SPEAKER}") for gap in _GAPS)


def turns_of_transcript(text: str) -> tuple[Message, ...] | None:
    r"""The turns of a transcript that ends with an empty turn of the assistant; None for other text.

    Speakers are `Human:` or `User:`, `Assistant:`, `System:`, also in capitals, as `### Human:`, or as `<human>:` and
    `<bot>:`.

    >>> turns_of_transcript("\n\nHuman: What is 2+2?\n\nAssistant:")
    (Message(role='user', content='What is 2+2?', extra={}),)
    """
    if not _FIRST.match(text):
        return None
    for marker in _MARKERS:
        turns = _turns(text, marker)
        if len(turns) > 1 and turns[-1] == Message("assistant", "") and any(turn.role == "user" for turn in turns):
            return turns[:-1]
    return None


def _turns(text: str, marker: re.Pattern[str]) -> tuple[Message, ...]:
    parts = marker.split(text)
    return tuple(
        Message(_ROLES[speaker.lower()], content.strip())
        for speaker, content in zip(parts[1::2], parts[2::2], strict=True)
    )


def as_turns(prompt: Text) -> tuple[Message, ...]:
    """A prompt as messages: the turns of a transcript, other text as one turn of the user.

    >>> as_turns("What is 2+2?")
    (Message(role='user', content='What is 2+2?', extra={}),)
    """
    if not isinstance(prompt, str):
        return prompt
    return turns_of_transcript(prompt) or (Message("user", prompt),)


def conversation_of(group: PromptGroup) -> PromptGroup:
    r"""The group as a conversation: the prompt as in `as_turns`, each completion as a turn of the assistant.

    The completions of a transcript lose the white space around them and their own `Assistant:`; further turns in them
    become messages. All other text stays as it is.

    >>> from preftune.groups import Origin
    >>> text = PromptGroup("Human: 2+2?\n\nAssistant:", (Completion(" 4"),), (), Origin("sums.jsonl", 1))
    >>> conversation_of(text).completions[0].content
    (Message(role='assistant', content='4', extra={}),)
    """
    if not isinstance(group.prompt, str):
        return group
    completions = group.completions
    if turns_of_transcript(group.prompt) is not None:
        stripped = tuple(map(_answer, completions))
        if not _has_equal_pair(stripped, group.pairs):  # chosen and rejected may differ in white space alone
            return replace(group, prompt=as_turns(group.prompt), completions=stripped)
    spoken = tuple(
        replace(completion, content=(Message("assistant", _as_text(completion.content)),)) for completion in completions
    )
    return replace(group, prompt=as_turns(group.prompt), completions=spoken)


def _has_equal_pair(completions: Sequence[Completion], pairs: Sequence[Pair]) -> bool:
    return any(completions[pair.chosen].content == completions[pair.rejected].content for pair in pairs)


def _as_text(content: Text) -> str:
    assert isinstance(content, str), "PromptGroup does not mix text and messages"
    return content


def _answer(completion: Completion) -> Completion:
    """A completion of a transcript as turns that begin with the assistant's."""
    text = _as_text(completion.content)
    marker = _FIRST.match(text)
    start = marker.end() if marker and _ROLES[marker[1].lower()] == "assistant" else 0
    start += len(text[start:]) - len(text[start:].lstrip())
    turns = _turns(f"Assistant: {text[start:]}", _MARKERS[0])
    if len(turns) == 1 or completion.weights or not _is_answer(turns):
        content = text[start:].rstrip() or text
        start = 0 if content == text else start
        turns = (Message("assistant", content),)
    return replace(completion, content=turns, weights=_moved(completion.weights, start, len(turns[0].content)))


def _is_answer(turns: Sequence[Message]) -> bool:
    return turns[-1].role == "assistant" and all(turn.content for turn in turns)


def _moved(spans: Sequence[WeightedSpan], start: int, length: int) -> tuple[WeightedSpan, ...]:
    """The spans of a text in its part of this start and length."""
    ends = ((max(span.start - start, 0), min(span.stop - start, length), span.weight) for span in spans)
    return tuple(WeightedSpan(*part) for part in ends if part[0] < part[1])


def end_of_prompt(text: str) -> int | None:
    r"""The position after the last `Assistant:` of a transcript; None if it has none.

    >>> end_of_prompt("\n\nHuman: Hi.\n\nAssistant: Hel")
    24
    """
    for marker in _MARKERS[:2] if _FIRST.match(text) else _MARKERS[:1]:
        ends = [found.end() for found in marker.finditer(text) if _ROLES[found[1].lower()] == "assistant"]
        if ends:
            return ends[-1]
    return None
