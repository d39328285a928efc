"""The logged metrics of a run so far, as rules look at them."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_HELD_OUT = "eval_"


@dataclass(frozen=True, slots=True)
class Point:
    """A logged value.

    Args:
        step: Optimizer steps taken when it was logged.
        value: A finite number.
        num_steps: Steps that it is the mean over; of held-out data 0.
    """

    step: int
    value: float
    num_steps: int = 1


class Series:
    """The values of one metric, in the order of the steps.

    >>> series = Series()
    >>> for step, value in enumerate([4.0, 1.0, 2.0], start=1):
    ...     series.add(Point(step, value))
    >>> series.mean_of_last(2), series.mean_of_last(4), series.lowest, series.highest
    (1.5, None, 1.0, 4.0)
    """

    def __init__(self) -> None:
        self.points: list[Point] = []
        self.lowest = math.inf
        self.highest = -math.inf

    def add(self, point: Point) -> None:
        """Add the newest value."""
        self.points.append(point)
        self.lowest = min(self.lowest, point.value)
        self.highest = max(self.highest, point.value)

    @property
    def first(self) -> float | None:
        """The oldest value."""
        return self.points[0].value if self.points else None

    @property
    def last(self) -> float | None:
        """The newest value."""
        return self.points[-1].value if self.points else None

    @property
    def after_start(self) -> float | None:
        """The newest value; None if it was measured before the first step."""
        return self.points[-1].value if self.points and self.points[-1].step else None

    def mean_of_last(self, num_steps: int) -> float | None:
        """Mean over at least the last `num_steps` steps; None where there are not so many."""
        return _mean(reversed(self.points), num_steps)

    def mean_of_first(self, num_steps: int) -> float | None:
        """Mean over at least the first `num_steps` steps; None where there are not so many."""
        return _mean(self.points, num_steps)

    def __len__(self) -> int:
        return len(self.points)


class History:
    """All metrics of a run by name: of training steps and of held-out data. What is no finite number is left out.

    >>> history = History()
    >>> history.add(1, {"loss": 0.7, "epoch": 0.5})
    >>> history.add(1, {"eval_loss": 0.6})
    >>> history.training("loss").last, history.held_out("loss").last, len(history.training("rewards/margins"))
    (0.7, 0.6, 0)
    """

    def __init__(self) -> None:
        self._training: dict[str, Series] = {}
        self._held_out: dict[str, Series] = {}
        self.step = 0

    def add(self, step: int, logs: Mapping[str, Any]) -> None:
        """Add what was logged after `step` steps: metrics of steps, or those of held-out data as `eval_...`."""
        if "loss" in logs:
            self._add(self._training, step, logs, num_steps=max(step - self.step, 1))
            self.step = step
        elif _HELD_OUT + "loss" in logs:
            held_out = {name.removeprefix(_HELD_OUT): value for name, value in logs.items() if name[:5] == _HELD_OUT}
            self._add(self._held_out, step, held_out, num_steps=0)

    def training(self, name: str) -> Series:
        """A metric of training steps; empty where it was not logged."""
        return self._training.get(name, Series())

    def held_out(self, name: str) -> Series:
        """A metric of held-out data; empty where it was not logged."""
        return self._held_out.get(name, Series())

    @staticmethod
    def _add(series: dict[str, Series], step: int, logs: Mapping[str, Any], *, num_steps: int) -> None:
        for name, value in logs.items():
            if isinstance(value, (int, float)) and math.isfinite(value):
                series.setdefault(name, Series()).add(Point(step, float(value), num_steps))


def _mean(points: Iterable[Point], num_steps: int) -> float | None:
    total, covered = 0.0, 0
    for point in points:
        total += point.value * point.num_steps
        covered += point.num_steps
        if covered >= num_steps:
            return total / covered
    return None
