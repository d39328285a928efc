"""What a judge's words say."""

import re

from preftune.judges.comparison import Choice

__all__ = ["ANSWER_FORMAT", "read_choice"]

ANSWER_FORMAT = "Better: A"
"""What the last line of an answer looks like; `B` or `tie` in place of `A`."""

_CHOICES: dict[str, Choice] = {"a": "first", "b": "second", "tie": "tie", "c": "tie", "neither": "tie", "both": "tie"}
_DECORATION = r"[\s*_`\"'\[\](){}<>#>.-]*"
_LABEL = r"(?:(?:better|preferred|verdict|winner|answer|more helpful|best)\b[^:\n]{0,20}[:=])?"
_NAME = r"(?:summary|response|completion|answer|option)?"
_LINE = re.compile(
    rf"^{_DECORATION}{_LABEL}{_DECORATION}{_NAME}{_DECORATION}\b(?P<choice>a|b|c|tie|neither|both)\b{_DECORATION}$",
    re.IGNORECASE,
)


def read_choice(answer: str) -> Choice:
    """Which completion an answer prefers, by its last line that says so and nothing else.

    Args:
        answer: A line `Better: A`, or the letter alone, in any decoration; what stands before it is the reason.

    >>> read_choice("B is vague, and A names the date.\\n\\n**Better: A**"), read_choice("I cannot say. A is nice.")
    ('first', 'unreadable')
    """
    for line in reversed(answer.splitlines()):
        found = _LINE.match(line)
        if found:
            return _CHOICES[found["choice"].lower()]
    return "unreadable"
