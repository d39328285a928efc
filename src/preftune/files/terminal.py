"""Consoles that write any text to any terminal: without markup, control characters, or failures of its encoding."""

import codecs
import io
import re
import sys
from collections.abc import Iterable
from typing import IO, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from typing_extensions import override

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_STAND_IN = "\N{REPLACEMENT CHARACTER}"

_IN_ASCII = {"·": "-", "±": "+-", "…": "...", "—": "-", "–": "-", "×": "x", "−": "-", "━": "-", "╸": "-", "╺": "-"}


def printable(text: str) -> str:
    """The text with a stand-in for each control character but tab and line feed, so that it cannot steer a terminal.

    >>> printable("red: \\x1b[31m, two\\tcells")
    'red: \N{REPLACEMENT CHARACTER}[31m, two\\tcells'
    """
    return _CONTROL.sub(_STAND_IN, text)


def _in_encoding(error: UnicodeError) -> tuple[str, int]:
    """Error handler of `accept_any_text`: similar characters for some, a question mark for the others."""
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end]
    return "".join(_IN_ASCII.get(character, "?") for character in text), error.end


codecs.register_error("preftune", _in_encoding)


def accept_any_text(*streams: IO[str]) -> None:
    """Make streams write a stand-in for characters that their encoding lacks, instead of raising.

    Default: standard output and standard error.
    """
    for stream in streams or (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="preftune")


class PlainConsole(Console):
    """A console that shows any text as it is: no markup, no emoji codes, control characters replaced.

    Args:
        arguments: Those of `rich.console.Console`.

    >>> PlainConsole(width=40).print("name[/b] :smile: \\x1b[2J")
    name[/b] :smile: \N{REPLACEMENT CHARACTER}[2J
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**{"markup": False, "emoji": False, **arguments})
        accept_any_text(self.file)

    @override
    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            is_plain = segment.control or not _CONTROL.search(segment.text)
            yield segment if is_plain else Segment(printable(segment.text), segment.style)
