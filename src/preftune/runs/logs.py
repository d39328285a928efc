"""Logs of a run, merged over resumptions: the later line of a step counts."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from preftune.files.json_files import read_json_lines

Log = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Series:
    """A metric over the steps of a run. Values may be NaN.

    Args:
        steps: Optimizer steps in rising order.
    """

    steps: tuple[int, ...]
    values: tuple[float, ...]

    def __bool__(self) -> bool:
        return bool(self.steps)

    def at(self, step: int) -> float | None:
        """The value logged after `step` steps; None if there is none."""
        return self.values[self.steps.index(step)] if step in self.steps else None


def read_logs(path: Path) -> tuple[Log, ...]:
    """The lines of a `metrics.jsonl`, merged; an incomplete last line is left out.

    Raises:
        DataError: the file is damaged.
    """
    return merged(read_json_lines(path))


def merged(logs: Sequence[Log]) -> tuple[Log, ...]:
    """The logs without lines that a resumed run replaced: if the step goes back, later lines are dropped.

    >>> [log["loss"] for log in merged([{"step": 1, "loss": 3}, {"step": 3, "loss": 2}, {"step": 2, "loss": 1}])]
    [3, 1]
    """
    kept: list[Log] = []
    for log in logs:
        while kept and kept[-1]["step"] > log["step"]:
            kept.pop()
        kept.append(log)
    return tuple(kept)


def series_of(logs: Sequence[Log], name: str) -> Series:
    """A metric over the steps; the later value of a step counts. Infinity and null become NaN.

    >>> series_of([{"step": 1, "loss": 2.0}, {"step": 1, "loss": 1.0}, {"step": 2, "grad_norm": 1.0}], "loss")
    Series(steps=(1,), values=(1.0,))
    """
    points = {log["step"]: _number(log[name]) for log in logs if name in log}
    return Series(tuple(points), tuple(points.values()))


def _number(value: Any) -> float:
    is_number = isinstance(value, (int, float)) and math.isfinite(value)
    return float(value) if is_number else math.nan
