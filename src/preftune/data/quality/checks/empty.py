"""Completions and prompts in which nothing is said."""

import re
from collections.abc import Iterator
from typing import final

from typing_extensions import override

from preftune.data.quality.check import Check, CheckSettings
from preftune.data.quality.facts import GroupFacts
from preftune.data.quality.finding import Found, Severity
from preftune.data.quality.flagged import Flagged
from preftune.data.rows import BadRow, LeftOut

__all__ = ["Empty"]

_SAYS_SOMETHING = re.compile(r"[^\W_]")


@final
class Empty(Check):
    """Completions without a letter or digit, and rows whose completion or prompt is empty.

    A completion of signs alone, such as "...", counts; an emoji does, too. Severity: rows with an empty completion
    are an error, as training stops there; signs alone a warning; empty prompts a warning, as the tokenizer then needs a
    beginning-of-sequence token.
    """

    def __init__(self, _: CheckSettings) -> None:
        self._rows = self._completions = 0
        self._flagged = {kind: Flagged() for kind in ("row", "completion", "prompt")}

    @override
    def add_unusable(self, row: BadRow | LeftOut, place: int) -> None:
        self._rows += 1
        if isinstance(row, BadRow) and row.fault == "empty":
            self._flagged["row"].add(place)

    @override
    def add(self, facts: GroupFacts) -> None:
        self._rows += 1
        self._completions += len(facts.texts)
        for text in facts.texts:
            if _SAYS_SOMETHING.search(text) is None:
                self._flagged["completion"].add(facts.place, text=repr(text))
        if not facts.prompt.strip():
            self._flagged["prompt"].add(facts.place)

    @override
    def found(self) -> Iterator[Found]:
        if self._flagged["row"]:
            why = "There is nothing to learn from; training stops there."
            advice = "Leave them out: `preftune clean --drop-unusable`."
            yield self._found("row", "error", "Rows with an empty completion", self._rows, "rows", why, advice)
        if self._flagged["completion"]:
            why = "Signs alone are mostly what is left of an answer that was lost."
            advice = "Look at them and leave them out, unless signs are asked for."
            title = "Completions without a letter or digit"
            yield self._found("completion", "warning", title, self._completions, "completions", why, advice)
        if self._flagged["prompt"]:
            why = "The first token of the completion is then predicted from nothing but the beginning of the text."
            advice = "Check --columns and --format; keep them if they are meant."
            yield self._found("prompt", "warning", "Empty prompts", self._rows, "rows", why, advice)

    def _found(self, kind: str, severity: Severity, title: str, total: int, unit: str, why: str, advice: str) -> Found:
        flagged = self._flagged[kind]
        return Found(
            check="empty",
            severity=severity,
            title=f"{title}: {len(flagged):,}",
            count=len(flagged),
            total=total,
            unit=unit,
            why=why,
            advice=advice,
            places=flagged.places,
            examples=flagged.shown,
        )
