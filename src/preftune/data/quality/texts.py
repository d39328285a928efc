"""Texts as checks see them."""

import json
import re

from preftune.groups import Message, PromptGroup, Text

__all__ = ["learned_texts", "num_words", "plain_text", "shortened"]

# Scripts that put no spaces between words: each sign counts as one.
_UNSPACED = re.compile("[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")


def plain_text(text: Text) -> str:
    """Text as it is; the contents of messages, and of their tool calls, one below the other.

    >>> plain_text((Message("assistant", "Hello."), Message("user", "Bye.")))
    'Hello.\\nBye.'
    """
    return text if isinstance(text, str) else "\n".join(map(_content, text))


def _content(message: Message) -> str:
    if not message.extra:
        return message.content
    extra = json.dumps(dict(message.extra), ensure_ascii=False, sort_keys=True, default=str)
    return f"{message.content} {extra}" if message.content else extra


def num_words(text: str) -> int:
    """Words between white space; in scripts without spaces, such as Chinese, each sign is one.

    >>> num_words("two  words"), num_words("你好。 yes")
    (2, 3)
    """
    if text.isascii():
        return len(text.split())
    signs = len(_UNSPACED.findall(text))
    if not signs:
        return len(text.split())
    return signs + sum(any(map(str.isalnum, word)) for word in _UNSPACED.sub(" ", text).split())


def learned_texts(group: PromptGroup) -> list[str]:
    """What a template is put around: the completions, and the messages of a prompt that has messages.

    A prompt that is text is left out: markers of turns in it are how it was written, not an accident.
    """
    prompts = [] if isinstance(group.prompt, str) else [message.content for message in group.prompt]
    return prompts + [plain_text(completion.content) for completion in group.completions]


def shortened(text: str, length: int = 80) -> str:
    """The beginning of a text on one line, fit for a terminal: what is not printable is shown as its code.

    >>> shortened("one\\ntwo"), shortened("a bell \\x07"), shortened("a long text", 7)
    ('one two', 'a bell \\\\x07', 'a long…')
    """
    line = " ".join(text[: 4 * length].split())
    visible = "".join(letter if letter.isprintable() else _escaped(letter) for letter in line)
    return visible if len(visible) <= length else visible[: length - 1].rstrip() + "…"


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")
