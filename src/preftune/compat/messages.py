"""Messages that name flags of the command line, in words of a script with TRL's names."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from preftune.errors import ConfigError, PreftuneError

_WORDS: Mapping[str, str] = {
    r"with --on-bad-row skip": "with on_bad_row='skip'",
    r"\(--chat auto [^)]*\)": "",
    r"--columns [\w=,]+": "dataset.rename_columns",
    r"(check|Check|Correct) (--\w+) and (--\w+)": r"\1 the names of the columns",
    r"(check|Check|Correct) --(columns|format|where)": r"\1 the names of the columns",
    r"with --chat-template(-kwargs)?( FILE)?": r"as tokenizer.chat_template",
    r"--chat-template FILE": "tokenizer.chat_template",
    r", or give --format \w+( to leave it out)?": "",
    r"--max-length": "max_length",
    r", or leave --chat at auto": "",
}
"""The words of a script, by the pattern of those of the command line."""


def of_script(message: str) -> str:
    """The message with names of fields and calls in place of flags.

    >>> of_script("Fix the row, or skip such rows with --on-bad-row skip.")
    "Fix the row, or skip such rows with on_bad_row='skip'."
    >>> of_script("Give one with --chat-template FILE, or leave them out.")
    'Give one as tokenizer.chat_template, or leave them out.'
    """
    for pattern, words in _WORDS.items():
        message = re.sub(pattern, words, message)
    return message


@contextmanager
def in_words_of_scripts() -> Iterator[None]:
    """Change the message of an error that is raised inside, not its type."""
    try:
        yield
    except PreftuneError as error:
        error.args = tuple(of_script(part) if isinstance(part, str) else part for part in error.args)
        if isinstance(error, ConfigError):
            error.problems = tuple(map(of_script, error.problems))
        raise
