"""Completions that decline to answer."""

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

__all__ = ["REFUSALS", "Refusals", "is_refusal"]

_WARNING = 0.05
_BEGINNING = 300

_NOT = "can't|cannot|can not|won't|will not"
_UNABLE = f"{_NOT}|am unable|'m unable|am not able|'m not able"
_HELP = (
    "help|assist|provide|support|answer|fulfill?|comply|create|write|generate|engage|participate|discuss|share|offer|"
    "recommend|condone|encourage|advise|comment|respond|continue|give|tell|do|say|suggest|promote|make|with|in|that|this"
)
REFUSALS: tuple[str, ...] = (
    # "I can't help with that", "I won't do this"; not "I can't help but smile".
    rf"\bi (?:{_NOT}|refuse to|must decline to|have to decline to) (?!help but)(?:{_HELP})\b",
    # "I'm not able to help", "I am unable to provide", "I'm not going to tell", "I am not comfortable with that".
    rf"\bi(?:'m| am) (?:unable|not (?:able|allowed|permitted|willing|going|comfortable)) (?:to )?(?:\w+ing |{_HELP})\b",
    # "I'm sorry, but I can't", "Unfortunately, I am unable", "I apologize, but as an AI I cannot".
    rf"\b(?:sorry|apologi[sz]e|unfortunately|afraid)\b[^.!?\n]{{0,60}}?\bi ?(?:{_UNABLE})\b",
    # "As an AI language model, I don't"; "as an AI assistant, it is not appropriate".
    rf"\bas an ai\b[^.!?\n]{{0,60}}?(?:{_UNABLE}|don't|do not|not appropriate|not ethical)\b",
    # "It is not appropriate to help", "It would be unethical for me to".
    rf"\b(?:not appropriate|inappropriate|unethical|not ethical|against my [\w ]+?) (?:for me )?to (?:{_HELP})\b",
    # "I don't think that's a good idea", "I do not believe it is appropriate".
    r"\bi (?:don't|do not) (?:think|believe) (?:it's|it is|that's|that is|this is|that would be) "
    r"(?:a good idea|appropriate|right|ok\b|okay|ethical)",
    r"\bi (?:don't|do not) feel comfortable\b",
    r"\bi (?:don't|do not) want to (?:help|assist|encourage|answer|be part of)\b",
)
"""English ways to decline, looked for in the first 300 characters, in lower case and with straight apostrophes.

They are to be right rather than complete: `tests/data/quality/checks/test_refusals.py` holds sentences that they must
match and sentences that they must not.
"""

_PATTERN = re.compile("|".join(f"(?:{pattern})" for pattern in REFUSALS))


def is_refusal(text: str) -> bool:
    """Whether a text begins by declining, in English.

    >>> is_refusal("I'm sorry, but I can’t help with that."), is_refusal("I'm sorry to hear that. You could rest.")
    (True, False)
    """
    return _PATTERN.search(text[:_BEGINNING].casefold().replace("’", "'")) is not None


@final
class Refusals(Check):
    """Refusals among chosen and among rejected completions, once for each pair or thumb.

    Severity: a warning where 5 % or more of the chosen completions are refusals, else a note. In data about harmless
    answers they are meant; in others the model learns to decline.
    """

    def __init__(self, _: CheckSettings) -> None:
        self._counts: Counter[str] = Counter()
        self._totals: Counter[str] = Counter()
        self._flagged = {"chosen": Flagged(), "rejected": Flagged()}

    @override
    def add(self, facts: GroupFacts) -> None:
        refusing = {index for index, text in enumerate(facts.texts) if is_refusal(text)}
        for side, index in sides_of(facts):
            self._totals[side] += 1
            if index in refusing:
                self._counts[side] += 1
                self._flagged[side].add(facts.place, note=side, text=facts.texts[index])

    @override
    def found(self) -> Iterator[Found]:
        chosen, rejected = self._counts["chosen"], self._counts["rejected"]
        if not chosen + rejected:
            return
        flagged = self._flagged["chosen"] or self._flagged["rejected"]
        severity = severity_of(chosen / max(self._totals["chosen"], 1), warning=_WARNING)
        yield Found(
            check="refusals",
            severity=severity,
            title=f"Refusals among chosen completions: {chosen:,}; among rejected ones: {rejected:,}",
            count=chosen,
            total=self._totals["chosen"],
            unit="chosen completions",
            why="What is chosen is learned. Refusals that are chosen where an answer was possible teach to decline; "
            "refusals that are rejected teach to answer whatever is asked.",
            advice="Read some. If the data are not about declining, leave these rows out."
            if severity != "note"
            else "",
            places=flagged.places,
            examples=flagged.shown,
            measures={
                "chosen": chosen,
                "rejected": rejected,
                "chosen_total": self._totals["chosen"],
                "rejected_total": self._totals["rejected"],
            },
        )
