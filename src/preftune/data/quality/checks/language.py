"""Completions in another script than the rest, or than their prompt."""

from array import array
from collections.abc import Iterator
from typing import final

from typing_extensions import override

from preftune.data.quality.check import Check, CheckSettings
from preftune.data.quality.facts import GroupFacts
from preftune.data.quality.finding import Found, severity_of
from preftune.data.quality.scripts import main_script

__all__ = ["Language"]

_MIXED = 0.2
_WARNING = 0.005


@final
class Language(Check):
    """Completions more than half of whose letters are of another script than most completions, or than their prompt.

    A rule about letters, without a model: it tells Chinese from English, not French from English. Texts with fewer than
    ten letters are left out. Severity: against the data set a warning from 0.5 %, a note where more than a fifth are in
    another script, as several languages are then meant; against the prompt a warning from 0.5 %.
    """

    def __init__(self, _: CheckSettings) -> None:
        self._by_script: dict[str, array[int]] = {}
        self._against_prompt = array("Q")

    @override
    def add(self, facts: GroupFacts) -> None:
        asked = main_script(facts.prompt)
        for text in facts.texts:
            script = main_script(text)
            if script is not None:
                self._by_script.setdefault(script, array("Q")).append(facts.place)
                if asked not in (None, script):
                    self._against_prompt.append(facts.place)

    @override
    def found(self) -> Iterator[Found]:
        counts = {script: len(places) for script, places in self._by_script.items()}
        total = sum(counts.values())
        main = max(sorted(counts), key=lambda script: counts[script], default="")
        others = array("Q", sorted(place for name, own in self._by_script.items() if name != main for place in own))
        if others:
            yield self._found_others(main, others, total, counts)
        if self._against_prompt:
            yield self._found_against_prompt(total)

    def _found_others(self, main: str, places: "array[int]", total: int, counts: dict[str, int]) -> Found:
        share = len(places) / total
        is_mixed = share > _MIXED
        return Found(
            check="language",
            severity="note" if is_mixed else severity_of(share, warning=_WARNING),
            title=f"Completions in another script than {main}, that of most: {len(places):,}",
            count=len(places),
            total=total,
            unit="completions",
            why="A few completions in another language teach the model to switch languages.",
            advice="" if is_mixed else "Look whether the prompts ask for it; leave them out where they do not.",
            places=() if is_mixed else places,
            measures=dict(sorted(counts.items())),
        )

    def _found_against_prompt(self, total: int) -> Found:
        places = self._against_prompt
        return Found(
            check="language",
            severity=severity_of(len(places) / total, warning=_WARNING),
            title=f"Completions in another script than their prompt: {len(places):,}",
            count=len(places),
            total=total,
            unit="completions",
            why="Unless a translation was asked for, they answer in the wrong language.",
            advice="Look whether the prompts ask for it; leave them out where they do not.",
            places=places,
        )
