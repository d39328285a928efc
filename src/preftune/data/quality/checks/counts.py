"""How much there is."""

from collections.abc import Iterator
from typing import final

from typing_extensions import override

from preftune.data.quality.check import Check, CheckSettings
from preftune.data.quality.facts import GroupFacts
from preftune.data.quality.finding import Found, Severity
from preftune.data.rows import BadRow, LeftOut

__all__ = ["Counts"]

_FEW_JUDGEMENTS = 100


@final
class Counts(Check):
    """Rows, completions, and what is known of them.

    Severity: error where nothing is judged (no pair, no thumb) and each prompt has several completions; warning below
    100 pairs and thumbs together, too few to measure most of what this report is about; else a note.
    """

    def __init__(self, _: CheckSettings) -> None:
        self._rows = self._groups = self._completions = self._pairs = self._thumbs = self._ties = 0
        self._demonstrations = 0

    @override
    def add(self, facts: GroupFacts) -> None:
        completions = facts.group.completions
        self._rows += 1
        self._groups += 1
        self._completions += len(completions)
        self._pairs += len(facts.judged.comparisons)
        self._ties += len(facts.judged.ties)
        self._thumbs += sum(completion.desirable is not None for completion in completions)
        self._demonstrations += len(completions) == 1 and completions[0].desirable is None

    @override
    def add_unusable(self, row: BadRow | LeftOut, place: int) -> None:
        self._rows += 1

    @override
    def found(self) -> Iterator[Found]:
        judged = self._pairs + self._thumbs
        is_imitation = self._groups > 0 and self._demonstrations == self._groups
        severity: Severity = "error" if not judged else "warning" if judged < _FEW_JUDGEMENTS else "note"
        yield Found(
            check="counts",
            severity="note" if is_imitation else severity,
            title=f"Rows: {self._rows:,}; completions: {self._completions:,}; pairs: {self._pairs:,}; thumbs: "
            f"{self._thumbs:,}",
            count=self._groups,
            total=self._rows,
            unit="rows",
            why="Pairs are those of the data or, where a row has scores and no pairs, all completions whose scores "
            "differ. Below a hundred judgements chance decides most of what can be said about a data set.",
            advice=""
            if judged >= _FEW_JUDGEMENTS or is_imitation
            else "Collect more, or check --format and --columns.",
            measures={
                "rows": self._rows,
                "groups": self._groups,
                "completions": self._completions,
                "pairs": self._pairs,
                "ties": self._ties,
                "thumbs": self._thumbs,
            },
        )
