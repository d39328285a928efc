"""What is wrong with the data of a run, as far as a few seconds show."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from preftune.data import LoadedGroups
from preftune.data.quality import CheckSettings, QualityReport, check_groups, prompt_keys
from preftune.data.quality.finding import Severity
from preftune.data.rows import DataRow
from preftune.groups import PromptGroup

__all__ = ["LEFT_OUT", "MOST_ROWS", "DataCheck", "check_data"]

MOST_ROWS = 20_000

LEFT_OUT = ("near-duplicates", "shortcuts")
"""The dearest checks: without them 20,000 rows of dialogue take 5 s of a core, with them 10 s."""

_SHOWN: tuple[Severity, ...] = ("error", "warning")
_TITLES = 3


@dataclass(frozen=True, slots=True)
class DataCheck:
    """What checks found in the training data.

    Args:
        report: Of the rows that were looked at.
        num_rows: How many there are in all.
        sources: What was read.
    """

    report: QualityReport
    num_rows: int
    sources: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For `data-check.json`: the report, and how much of the data and of the checks it is about."""
        counts = {"checked": self.report.num_rows, "of": self.num_rows}
        return {**self.report.as_dict(), **counts, "left_out": list(LEFT_OUT)}

    def lines(self) -> Iterator[str]:
        """For the console: one if anything is an error or a warning, none if nothing is."""
        counts = [_counted(self.report.num_of(severity), severity) for severity in _SHOWN]
        found = [text for text in counts if text]
        if not found:
            return
        rows = f"{self.report.num_rows:,} rows"
        if self.report.num_rows < self.num_rows:
            rows = f"{self.report.num_rows:,} of {self.num_rows:,} rows"
        command = f"preftune check {shlex.join(self.sources)}"
        yield f"data check: {', '.join(found)} in {rows}{self._titles()}; see data-check.json, or {command}"

    def _titles(self) -> str:
        """Those of errors."""
        titles = [finding.title for finding in self.report.findings if finding.severity == "error"]
        more = f"; and {len(titles) - _TITLES} more" if len(titles) > _TITLES else ""
        return f" ({'; '.join(titles[:_TITLES])}{more})" if titles else ""


def check_data(
    loaded: LoadedGroups,
    learned: Sequence[PromptGroup],
    held_out: Sequence[PromptGroup],
    sources: Sequence[str],
    *,
    max_rows: int = MOST_ROWS,
    seed: int = 0,
) -> DataCheck:
    """Look for what is wrong with the training data, by the checks of `preftune check` but for the dearest.

    Args:
        loaded: What was read, with the rows that gave nothing.
        learned: What of it is learned from.
        held_out: What is held out; is a prompt in both?
        sources: What was read, by name.
        max_rows: Look at so many at most, spread evenly over the data.
        seed: Of samples that checks draw.
    """
    rows: list[DataRow] = [*learned, *loaded.skipped, *loaded.left_out]
    count = min(max_rows, len(rows))
    looked_at = [rows[place * len(rows) // count] for place in range(count)]
    settings = CheckSettings(seed=seed, held_out=prompt_keys(held_out) if held_out else None)
    report = check_groups(lambda: looked_at, settings=settings, skip=LEFT_OUT)
    return DataCheck(report, len(rows), tuple(sources))


def _counted(number: int, noun: str) -> str:
    """
    >>> _counted(2, "error"), _counted(0, "error")
    ('2 errors', '')
    """
    return f"{number} {noun}{'s' * (number != 1)}" if number else ""
