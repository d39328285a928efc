"""Characters that no one typed: control codes, invisible signs, and signs of a wrong encoding."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import final

from typing_extensions import override

from preftune.data.quality.check import Check, CheckSettings
from preftune.data.quality.facts import GroupFacts
from preftune.data.quality.finding import Found, severity_of
from preftune.data.quality.flagged import Flagged

__all__ = ["ControlCharacters", "bad_characters"]

_WARNING = 0.001
_KINDS = {
    "control codes": re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"),
    "invisible signs": re.compile("[\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff\ufff9-\ufffb]"),
    "lost characters (\ufffd)": re.compile("\ufffd"),
    # UTF-8 read as Windows-1252: é as Ã©, ’ as â€™, and the like.
    "wrongly decoded text": re.compile("\u00c3[\u0080-\u00bf\u2018-\u2122]|\u00e2\u20ac[\u0080-\u00bf\u2018-\u2122]"),
}


def bad_characters(text: str) -> list[str]:
    """The kinds of bad characters that a text has.

    >>> bad_characters("a bell: \\x07, cafÃ©"), bad_characters("café 👩‍🚀")
    (['control codes', 'wrongly decoded text'], [])
    """
    if text.isascii():
        return ["control codes"] if _KINDS["control codes"].search(text) else []
    return [name for name, pattern in _KINDS.items() if pattern.search(text)]


@final
class ControlCharacters(Check):
    """Rows with control codes, invisible signs, replacement characters or wrongly decoded text in prompt or completion.

    Tabs and line breaks are fine, and so are the joiners that emojis and some scripts need. Severity: a warning from
    0.1 % of the rows; the model learns to write them.
    """

    def __init__(self, _: CheckSettings) -> None:
        self._rows = 0
        self._flagged = Flagged()
        self._kinds: Counter[str] = Counter()

    @override
    def add(self, facts: GroupFacts) -> None:
        self._rows += 1
        kinds = {kind for text in (facts.prompt, *facts.texts) for kind in bad_characters(text)}
        if kinds:
            self._flagged.add(facts.place, note=", ".join(sorted(kinds)))
            self._kinds.update(kinds)

    @override
    def found(self) -> Iterator[Found]:
        if self._flagged:
            kinds = ", ".join(sorted(self._kinds))
            yield Found(
                check="control-characters",
                severity=severity_of(len(self._flagged) / self._rows, warning=_WARNING),
                title=f"Rows with characters that no one typed ({kinds}): {len(self._flagged):,}",
                count=len(self._flagged),
                total=self._rows,
                unit="rows",
                why="They are traces of wrong decoding or of copying; a model that learns from them writes them.",
                advice="Decode the source again as UTF-8, or strip these characters.",
                places=self._flagged.places,
                examples=self._flagged.shown,
                measures=dict(sorted(self._kinds.items())),
            )
