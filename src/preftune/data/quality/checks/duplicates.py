"""Rows that say again what an earlier row says."""

from collections.abc import Iterator
from typing import final

from typing_extensions import override

from preftune.data.quality.check import Check, CheckSettings
from preftune.data.quality.facts import GroupFacts
from preftune.data.quality.finding import NUM_EXAMPLES, Found, Shown, severity_of
from preftune.data.quality.keys import KeyLog

__all__ = ["Duplicates"]

_WARNING, _ERROR = 0.005, 0.1


@final
class Duplicates(Check):
    """Rows equal to an earlier one: same prompt, completions, preference and thumbs, but for case and white space.

    Scores and the order of completions do not matter. Severity: warning from 0.5 % of the rows, error from 10 %: a row
    that occurs twice counts twice, and one on either side of a split by row leaks.
    """

    def __init__(self, _: CheckSettings) -> None:
        self._log = KeyLog()

    @override
    def add(self, facts: GroupFacts) -> None:
        self._log.add(facts.row_key, facts.place)

    @override
    def found(self) -> Iterator[Found]:
        repeats = self._log.repeats()
        count, total = len(repeats.places), len(self._log)
        if count:
            yield Found(
                check="duplicates",
                severity=severity_of(count / total, warning=_WARNING, error=_ERROR),
                title=f"Rows that repeat an earlier row: {count:,}",
                count=count,
                total=total,
                unit="rows",
                why="A row that occurs twice counts twice, and is learned by heart sooner.",
                advice="Leave the repeats out: `preftune clean --dedupe`.",
                places=repeats.places.tolist(),
                examples=[
                    Shown(place, like=first)
                    for place, first in zip(
                        repeats.places.tolist(), repeats.first[:NUM_EXAMPLES].tolist(), strict=False
                    )
                ],
            )
