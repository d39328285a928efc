"""Texts as checks read them: plain, counted in words, by script, and shortened for people."""

import json
import re
from collections.abc import Mapping

from preftune.groups import Message, PromptGroup, Text

# Scripts without spaces between words: each character counts as a word.
_UNSPACED = re.compile("[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")

SCRIPTS: Mapping[str, str] = {
    "Latin": "A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u1e00-\u1eff",
    "Greek": "\u0370-\u03ff\u1f00-\u1fff",
    "Cyrillic": "\u0400-\u052f",
    "Armenian": "\u0531-\u058f",
    "Hebrew": "\u0590-\u05ff",
    "Arabic": "\u0600-\u06ff\u0750-\u077f\ufb50-\ufdff\ufe70-\ufefc",
    "Indic": "\u0900-\u0dff",
    "Thai or Lao": "\u0e00-\u0eff",
    "Georgian": "\u10a0-\u10ff",
    "Hangul": "\u1100-\u11ff\uac00-\ud7af",
    "Ethiopic": "\u1200-\u139f",
    "Chinese or Japanese": "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff",
}
"""Ranges of letters. Scripts that one text mixes, or that a reader of one mostly reads too, count as one."""

_LETTERS = {name: re.compile(f"[{letters}]") for name, letters in SCRIPTS.items()}
_ASCII = re.compile("[\x00-\x7f]+")
_FEWEST_LETTERS = 10
_TEN_LETTERS = re.compile(r"(?:[^A-Za-z]*[A-Za-z]){10}")


def plain_text(text: Text) -> str:
    """A text as it is, or the contents of messages and of their tool calls, one per line.

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
    """Number of words between white space. In scripts without spaces, such as Chinese, each character is one.

    >>> num_words("two  words"), num_words("你好。 yes")
    (2, 3)
    """
    if text.isascii():
        return len(text.split())
    characters = len(_UNSPACED.findall(text))
    if not characters:
        return len(text.split())
    return characters + sum(any(map(str.isalnum, word)) for word in _UNSPACED.sub(" ", text).split())


def learned_texts(group: PromptGroup) -> list[str]:
    """Texts that a chat template wraps: the completions, and the messages of a prompt that has messages.

    A prompt that is plain text is left out: markers of turns in it are how it was written, not an accident.
    """
    prompts = [] if isinstance(group.prompt, str) else [message.content for message in group.prompt]
    return prompts + [plain_text(completion.content) for completion in group.completions]


def letters_by_script(text: str) -> dict[str, int]:
    """Number of letters of each script that occurs in a text.

    >>> letters_by_script("Да, yes!")
    {'Latin': 3, 'Cyrillic': 2}
    """
    rest = "" if text.isascii() else _ASCII.sub("", text)
    counts = {"Latin": len(_LETTERS["Latin"].findall(text))}
    if rest and any(map(str.isalpha, rest)):
        counts |= {name: len(pattern.findall(rest)) for name, pattern in _LETTERS.items() if name != "Latin"}
    return {name: count for name, count in counts.items() if count}


def main_script(text: str) -> str | None:
    """The script of more than half of the letters; None if there is none, or fewer than ten letters.

    >>> main_script("Ничего не понимаю (IMHO)")
    'Cyrillic'
    """
    if text.isascii():  # most texts: no need to count beyond ten letters
        return "Latin" if _TEN_LETTERS.match(text) else None
    counts = letters_by_script(text)
    total = sum(counts.values())
    script = max(counts, key=lambda name: counts[name], default=None)
    return script if script and total >= _FEWEST_LETTERS and 2 * counts[script] > total else None


def shortened(text: str, length: int = 80) -> str:
    """The beginning of a text on one line, for a terminal. Characters that cannot be printed are shown as their code.

    >>> shortened("one\\ntwo"), shortened("a bell \\x07"), shortened("a long text", 7)
    ('one two', 'a bell \\\\x07', 'a long…')
    """
    line = " ".join(text[: 4 * length].split())
    visible = "".join(letter if letter.isprintable() else _escaped(letter) for letter in line)
    return visible if len(visible) <= length else visible[: length - 1].rstrip() + "…"


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")
