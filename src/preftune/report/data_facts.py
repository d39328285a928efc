"""What became of a run's data: how much there was, and what was left out or cut."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from preftune.report.run_record import RunRecord
from preftune.report.table import PageTable, Row
from preftune.runs.part_report import LOST_TEXTS

__all__ = ["Loss", "data_losses", "data_table"]

_COUNTS = (
    ("num_prompts", "prompts"),
    ("num_pairs", "pairs"),
    ("num_desirable", "desirable answers"),
    ("num_undesirable", "undesirable answers"),
    ("num_tokens", "tokens"),
)
_NUM_PLACES = 50


@dataclass(frozen=True, slots=True)
class Loss:
    """Something that was left out or cut.

    Args:
        part: Of which part of the data.
        text: How many, and why.
        places: Where the first of them are.
        num_more: How many there are beyond these.
    """

    part: str
    text: str
    places: tuple[str, ...] = ()
    num_more: int = 0


def data_table(run: RunRecord) -> PageTable | None:
    """The counts of each part of the data; None where the run has not written them."""
    parts = _parts(run)
    if not parts:
        return None
    named = [(label, [report.get(name, 0) for report in parts.values()]) for name, label in _COUNTS]
    rows = tuple(Row((label, *(f"{count:,}" for count in counts))) for label, counts in named if any(counts))
    return PageTable("", ("", *parts), rows)


def data_losses(run: RunRecord) -> Iterator[Loss]:
    """All that was not used as it was, part by part."""
    for part, report in _parts(run).items():
        for name, what in LOST_TEXTS.items():
            places = report.get(name) or ()
            if places:
                shown = tuple(map(str, places[:_NUM_PLACES]))
                yield Loss(part, f"{len(places):,} {what}", shown, len(places) - len(shown))
        for prefix, name in (("", "left_out"), ("mix: ", "mix"), ("", "warnings")):
            yield from (Loss(part, f"{prefix}{line}") for line in report.get(name) or ())


def _parts(run: RunRecord) -> Mapping[str, Mapping[str, Any]]:
    return {} if run.summary is None else run.summary.get("data", {})
