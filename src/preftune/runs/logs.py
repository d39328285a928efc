"""What a run has logged, as it counts: of a step that was logged twice, after a resumption, the later line."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from preftune.files.json_files import read_json_lines

__all__ = ["Log", "Series", "merged", "read_logs", "series_of"]

Log = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Series:
    """A metric over the steps of a run. Values may be NaN.

    Args:
        steps: Rising.
        values: As many.
    """

    steps: tuple[int, ...]
    values: tuple[float, ...]

    def __bool__(self) -> bool:
        """Whether it was logged at all."""
        return bool(self.steps)

    def at(self, step: int) -> float | None:
        """The value that was logged after so many steps, if any was."""
        return self.values[self.steps.index(step)] if step in self.steps else None


def read_logs(path: Path) -> tuple[Log, ...]:
    """The lines of a `metrics.jsonl`, merged. A last line that was cut short, as by a kill, is left out.

    Raises:
        DataError: the file is damaged.
    """
    return merged(read_json_lines(path))


def merged(logs: Sequence[Log]) -> tuple[Log, ...]:
    """The logs without those that a resumed run has logged anew: where steps go back, what was later is dropped.

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
    """A metric over the steps; of a step that has it twice, the later value. What is infinite or null is NaN.

    >>> series_of([{"step": 1, "loss": 2.0}, {"step": 1, "loss": 1.0}, {"step": 2, "grad_norm": 1.0}], "loss")
    Series(steps=(1,), values=(1.0,))
    """
    points = {log["step"]: _number(log[name]) for log in logs if name in log}
    return Series(tuple(points), tuple(points.values()))


def _number(value: Any) -> float:
    is_number = isinstance(value, (int, float)) and math.isfinite(value)
    return float(value) if is_number else math.nan
