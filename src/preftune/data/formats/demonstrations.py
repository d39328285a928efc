"""Formats with one completion: demonstrations, thumbs, reviews."""

import re
from collections.abc import Mapping
from dataclasses import replace

from preftune.data.formats.completions import read_weights
from preftune.data.formats.fields import as_conversation, is_blank, read_completion, read_string, read_text, to_choice
from preftune.data.formats.format import Format, GuessedPrompt, each_row
from preftune.data.rows import Row
from preftune.groups import Message, PromptGroup

MARKS = ("kto_tag", "label")
"""Columns that may mark a completion as desirable or not."""


def read_demonstration(row: Row) -> PromptGroup:
    """A group of one completion and no pairs, from `prompt` and `completion`, or from `messages`.

    The last turn of `messages` is the completion and must be the assistant's; the turns before it are the prompt.
    Optional: a mark, as in `read_mark`.

    >>> from preftune.groups import Origin
    >>> turns = [{"role": "user", "content": "2+2="}, {"role": "assistant", "content": "4"}]
    >>> read_demonstration(Row(Origin("sums.jsonl", 1), {"messages": turns})).completions[0].content[0].content
    '4'
    """
    return marked_group(row, _demonstration(row))


def _demonstration(row: Row) -> PromptGroup:
    if row.fields.get("completion") is None and row.fields.get("messages") is not None:
        messages = read_text(row, "messages")
        if isinstance(messages, str):
            raise row.error("messages", "is text. It must be a list of messages.")
        return last_turn_group(row, "messages", messages)
    prompt, completion = read_text(row, "prompt"), read_text(row, "completion")
    if not (isinstance(prompt, str) and isinstance(completion, str)):
        prompt, completion = as_conversation(prompt, "user"), as_conversation(completion, "assistant")
    return PromptGroup(prompt, (read_completion(row, "completion", completion),), (), row.origin)


def last_turn_group(row: Row, name: str, messages: tuple[Message, ...]) -> PromptGroup:
    """A group of one completion, the last turn of a conversation."""
    if messages[-1].role != "assistant":
        raise row.error(name, f"ends with a turn of '{messages[-1].role}'. The assistant must have the last turn.")
    if len(messages) == 1:
        raise row.error(name, "has a single turn. There must be a prompt before the assistant's turn.")
    return PromptGroup(messages[:-1], (read_completion(row, name, messages[-1:]),), (), row.origin)


_LABELS: Mapping[str, bool] = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}


def read_thumb(row: Row) -> PromptGroup:
    """A group of one completion, desirable or not, from `prompt`, `completion` or `messages`, and `label` or `kto_tag`.

    A label is true or false, or 1 or 0, also as text (CSV files). Prompt and completion are text or lists of messages.
    Optional: `weights`.

    >>> from preftune.groups import Origin
    >>> row = Row(Origin("sums.jsonl", 1), {"prompt": "2+2=", "completion": "4", "label": True})
    >>> read_thumb(row).completions[0].desirable
    True
    """
    group = _marked(_demonstration(row), _read_label(row))
    [completion] = group.completions
    known = replace(completion, weights=read_weights(row, "weights", completion.content))
    return replace(group, completions=(known,))


def read_mark(row: Row) -> bool | None:
    """True or false if the column `kto_tag` or `label` marks the completion as desirable or not, None without a mark.

    A `label` counts only if it is true or false, because 0 and 1 may be numbers of classes.

    >>> from preftune.groups import Origin
    >>> [read_mark(Row(Origin("sums.jsonl", 1), fields)) for fields in ({"label": False}, {"label": 0}, {"kto_tag": 1})]
    [False, None, True]
    """
    if not is_blank(row.peek("kto_tag")):
        return _read_label(row, "kto_tag")
    value = row.peek("label")
    return _read_label(row, "label") if str(value).strip().lower() in ("true", "false") else None


def marked_group(row: Row, group: PromptGroup) -> PromptGroup:
    """The group of one completion with the row's mark, if it has one."""
    mark = read_mark(row)
    return group if mark is None else _marked(group, mark)


def _marked(group: PromptGroup, mark: bool) -> PromptGroup:
    return replace(group, completions=tuple(replace(one, desirable=mark) for one in group.completions))


def _read_label(row: Row, name: str | None = None) -> bool:
    name = name or ("label" if is_blank(row.peek("kto_tag")) else "kto_tag")
    value = row.fields.get(name)
    if is_blank(value):
        raise row.error(name, "is missing.")
    label = _LABELS.get(str(value).strip().lower())
    if label is None:
        raise row.error(
            name,
            f"is {value!r:.40}. It must be true or false, or 1 or 0. If it does not say whether the completion is "
            "good, give --format demonstrations.",
        )
    return label


_NUM_WORDS = 4
_BEGINNING = re.compile(rf"\s*(?:\S+\s+){{{_NUM_WORDS - 1}}}\S+")
_UNLABELLED = -1


def read_review(row: Row) -> PromptGroup:
    """A group of one completion from `text` and `label`: its first four words are the prompt, the rest follows.

    `label` is 1 for a positive text, a desirable completion, and 0 for a negative one. -1: unlabelled, a completion
    to imitate.

    Source: https://huggingface.co/datasets/stanfordnlp/imdb; prompts are beginnings of 2 to 8 tokens in Rafailov et
        al. 2023, arXiv:2305.18290, Appendix C.1.

    >>> from preftune.groups import Origin
    >>> group = read_review(Row(Origin("imdb", 1), {"text": "I like this film a lot.", "label": 1}))
    >>> group.prompt, group.completions[0].content, group.completions[0].desirable
    ('I like this film', ' a lot.', True)
    """
    text = read_string(row, "text")
    beginning = _BEGINNING.match(text)
    if beginning is None or not text[beginning.end() :].strip():
        raise row.error("text", f"has {_NUM_WORDS} words or fewer. These are the prompt, so there is no completion.")
    completion = read_completion(row, "text", text[beginning.end() :])
    label = row.fields.get("label")
    if label != _UNLABELLED:
        completion = replace(completion, desirable=bool(to_choice(row, "label", label, 2)))
    return PromptGroup(beginning.group(), (completion,), (), row.origin)


_COMPLETION = (("prompt", "completion"), ("messages",))

THUMBS = Format(
    name="thumbs",
    about="a prompt, a completion, and whether it is good",
    required=tuple((*names, mark) for names in _COMPLETION for mark in ("label", "kto_tag")),
    optional=("weights",),
    structures=("messages", "weights"),
    read=each_row(read_thumb),
)

DEMONSTRATIONS = Format(
    name="demonstrations",
    about="a prompt and a completion, or a whole conversation, to imitate",
    required=_COMPLETION,
    structures=("messages",),
    read=each_row(read_demonstration),
)

REVIEWS = Format(
    name="reviews",
    about="IMDB: a text, whose first words are the prompt, and whether it is positive",
    required=(("text", "label"),),
    guessed_prompt=GuessedPrompt(lambda _: False, further=",completion=text"),
    read=each_row(read_review),
)
