"""Completions that stop in the middle of a sentence."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import final

from typing_extensions import override

from preftune.data.quality.check import Check, CheckSettings
from preftune.data.quality.facts import GroupFacts
from preftune.data.quality.finding import Found, severity_of
from preftune.data.quality.flagged import Flagged
from preftune.data.quality.sides import sides_of

__all__ = ["Truncated", "ends_open"]

_FEWEST_WORDS = 20
_MOST_OPEN = 0.2
_WARNING = 0.02
_OPEN_END = re.compile(r"[^\W_]$|[,;:(\[{\-–—/&+=]$")
_LINE_WITHOUT_END = re.compile(r"\s*(?:[-*+•#>|]|\d+[.)]|[a-zA-Z][.)]|```|\w+:\s)")
_SIGNED = re.compile(r"https?://\S+$")


def ends_open(text: str) -> bool:
    """Whether a text stops where no sentence ends: at a letter, a digit or a sign that something must follow.

    Lines of lists, tables and headings, finished code, and links need no end; code that is not finished has none.

    >>> ends_open("and then the"), ends_open("and then the end."), ends_open("Buy:\\n- milk\\n- eggs")
    (True, False, False)
    """
    body = text.rstrip()
    if body.count("```") % 2:
        return True
    if _OPEN_END.search(body) is None or _SIGNED.search(body):
        return False
    last_line = body[body.rfind("\n") + 1 :]
    return _LINE_WITHOUT_END.match(last_line) is None


@final
class Truncated(Check):
    """Long completions that stop without an end, in data where others have one.

    Counted are completions of 20 words or more that end at a letter, a digit or a sign such as a comma, outside lists,
    tables and code. Where more than a fifth of them do, ends are not the custom of the data, and it is a note that is
    not about truncation. Severity: a warning from 2 %, or where one side of the pairs has it 5 points more often: then
    it gives the answer away.
    """

    def __init__(self, _: CheckSettings) -> None:
        self._long = 0
        self._flagged = Flagged()
        self._counts: Counter[str] = Counter()
        self._totals: Counter[str] = Counter()

    @override
    def add(self, facts: GroupFacts) -> None:
        is_long = [length >= _FEWEST_WORDS for length in facts.lengths]
        is_open = [long and ends_open(text) for long, text in zip(is_long, facts.texts, strict=True)]
        self._long += sum(is_long)
        for text, ends in zip(facts.texts, is_open, strict=True):
            if ends:
                self._flagged.add(facts.place, text="…" + text.rstrip()[-80:])
        for side, index in sides_of(facts):
            self._totals[side] += is_long[index]
            self._counts[side] += is_open[index]

    @override
    def found(self) -> Iterator[Found]:
        num_open = len(self._flagged)
        if not num_open:
            return
        share = num_open / self._long
        shares = {side: self._counts[side] / max(self._totals[side], 1) for side in ("chosen", "rejected")}
        gap = abs(shares["chosen"] - shares["rejected"])
        is_custom = share > _MOST_OPEN
        severity = "warning" if gap >= 0.05 else severity_of(share, warning=2.0 if is_custom else _WARNING)
        percents = [f"{100 * shares[side]:.1f} % of {side}" for side in ("chosen", "rejected")]
        both = f" ({', '.join(percents)})" if self._totals else ""
        yield Found(
            check="truncated",
            severity=severity,
            title=f"Long completions that end in the middle of a sentence: {num_open:,}{both}",
            count=num_open,
            total=self._long,
            unit="completions",
            why="A model that learns from texts that were cut off learns to stop anywhere. Where one side was cut "
            "more, the cut tells chosen from rejected.",
            advice="" if severity == "note" else "Generate these again with room for more tokens, or leave them out.",
            places=() if is_custom else self._flagged.places,
            examples=self._flagged.shown,
            measures={"chosen_share": round(shares["chosen"], 4), "rejected_share": round(shares["rejected"], 4)},
        )
