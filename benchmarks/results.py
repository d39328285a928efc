"""Results of benchmarks as small JSON files, one per benchmark, and as Markdown tables."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import Machine

__all__ = ["RESULTS", "Result", "load", "markdown_table", "save"]

RESULTS = Path(__file__).parent / "results"

Row = Mapping[str, str | int | float | None]


@dataclass(frozen=True, slots=True)
class Result:
    """Result of one benchmark on one workload.

    Args:
        benchmark: Its name.
        workload: What it ran on: results for others stay when this one is saved.
        machine: Where.
        rounds: Times that each side was timed.
        rows: The numbers, a mapping per row of the table, all with the same keys.
        notes: Further facts, a line each.
    """

    benchmark: str
    workload: str
    machine: Machine
    rounds: int
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()


def save(result: Result, folder: Path = RESULTS) -> Path:
    """Put a result in its file, in the place of the one for the same workload."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{result.benchmark}.json"
    known = {kept.workload: kept for kept in load(result.benchmark, folder)} | {result.workload: result}
    path.write_text(json.dumps([asdict(kept) for kept in known.values()], indent=1) + "\n")
    return path


def load(benchmark: str, folder: Path = RESULTS) -> list[Result]:
    """The results of a benchmark, none if it has not been run."""
    path = folder / f"{benchmark}.json"
    return [_result(fields) for fields in json.loads(path.read_text())] if path.exists() else []


def _result(fields: dict[str, Any]) -> Result:
    given = {"machine": Machine(**fields["machine"]), "rows": tuple(fields["rows"]), "notes": tuple(fields["notes"])}
    return Result(**{**fields, **given})


def markdown_table(rows: Sequence[Row]) -> str:
    """A table with a column per key.

    >>> print(markdown_table([{"side": "ours", "seconds": 1.23456}, {"side": "theirs", "seconds": None}]))
    | side | seconds |
    |---|---|
    | ours | 1.23 |
    | theirs | |
    """
    names = list(rows[0]) if rows else []
    lines = [names, *([_cell(row[name]) for name in names] for row in rows)]
    written = ["|" + "|".join(f" {cell} " if cell else " " for cell in line) + "|" for line in lines]
    return "\n".join([written[0], "|---" * len(names) + "|", *written[1:]])


def _cell(value: str | int | float | None) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:#.3g}".rstrip(".")
    return f"{value:,}" if isinstance(value, int) else value
