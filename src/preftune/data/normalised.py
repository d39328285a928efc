"""Prompts without differences that make no other prompt."""

import re
from unicodedata import normalize

from preftune.groups import Text

__all__ = ["normalised_prompt"]

_MARKER = re.compile(r"(?:\A\s*|\n\n)(Human|Assistant):")
_ROLES = {"Human": "user", "Assistant": "assistant"}
_INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u2060\ufeff"))
"""Soft hyphen, zero-width space, word joiner, byte order mark."""


def normalised_prompt(prompt: Text) -> str:
    r"""A prompt without differences in case, white space, Unicode form and invisible characters.

    A single user turn is the same as its text, and a transcript of the form `\n\nHuman: ... \n\nAssistant:` the same as
    its turns, so that a prompt is known again in a data set of another layout.

    >>> normalised_prompt("What  is\n2+2?")
    'what is 2+2?'
    >>> normalised_prompt("\n\nHuman: What is 2+2?\n\nAssistant:")
    'what is 2+2?'
    """
    turns = _turns(prompt) if isinstance(prompt, str) else [(message.role, message.content) for message in prompt]
    if turns is None:
        return _normalised(str(prompt))
    texts = [(role, _normalised(content)) for role, content in turns]
    if [role for role, _ in texts] == ["user"]:
        return texts[0][1]
    return "\n".join(f"{role}: {content}" for role, content in texts)


def _turns(text: str) -> list[tuple[str, str]] | None:
    """The turns of a transcript that the assistant is to go on with; None of a text that is none."""
    parts = _MARKER.split(text)
    if parts[0].strip() or len(parts) < 3 or parts[-2] != "Assistant" or parts[-1].strip():
        return None
    return [(_ROLES[role], content) for role, content in zip(parts[1:-2:2], parts[2:-2:2], strict=True)]


def _normalised(text: str) -> str:
    if not text.isascii():
        text = normalize("NFKC", text.translate(_INVISIBLE))
        text = normalize("NFKC", text.casefold())  # folding may undo the form
    return " ".join(text.split()).casefold()
