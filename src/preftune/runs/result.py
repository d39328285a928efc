"""Result of a run: its numbers, and a table of them for the console."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from preftune.files.number_text import duration_text
from preftune.metrics.catalogue import HELD_OUT, METRICS
from preftune.runs.data_report import PartReport
from preftune.runs.verdict import Verdict
from preftune.training.health.finding import HealthFinding

LEAST_ROWS = 64
"""Fewest pairs, completions or prompts that the first and last value of a training metric are averaged over."""

LEAST_SHARE = 0.1
"""Least share of the steps that they are averaged over."""


def window_of(num_steps: int, batch_size: int) -> int:
    """Steps that the first and the last value of a training metric are averaged over, so that both compare.

    They hold 64 pairs (or completions, or prompts) and a tenth of the run; at most half of it, so that they do not
    overlap.

    >>> window_of(400, 64), window_of(400, 8), window_of(8, 5), window_of(1, 5)
    (40, 40, 4, 1)
    """
    wanted = max(math.ceil(LEAST_ROWS / batch_size), math.ceil(LEAST_SHARE * num_steps))
    return max(1, min(wanted, num_steps // 2))


@dataclass(frozen=True, slots=True)
class MetricPath:
    """First and last value of a metric; of a held-out metric also the best one and its step.

    Values of training are means over the first and the last `num_steps` steps, since a step holds few rows, and other
    ones each time. Held-out values are of all held-out data.
    """

    first: float
    last: float
    best: float | None = None
    best_step: int | None = None
    num_steps: int = 0

    @staticmethod
    def held_out(name: str, history: Sequence[Mapping[str, Any]]) -> "MetricPath | None":
        """The path of a held-out metric through the logs; None if it was not logged.

        >>> logs = [{"eval_loss": 2.0, "step": 0}, {"eval_loss": 1.0, "step": 2}, {"eval_loss": 1.5, "step": 3}]
        >>> MetricPath.held_out("loss", logs)
        MetricPath(first=2.0, last=1.5, best=1.0, best_step=2, num_steps=0)
        """
        values = [(log[HELD_OUT + name], log["step"]) for log in history if HELD_OUT + name in log]
        if not values:
            return None
        metric = METRICS[name]
        if not metric.has_best:
            return MetricPath(values[0][0], values[-1][0])
        pick = min if metric.direction == "lower" else max
        best, step = pick(values, key=lambda item: item[0])
        return MetricPath(values[0][0], values[-1][0], best, step)

    @staticmethod
    def training(name: str, history: Sequence[Mapping[str, Any]], *, window: int) -> "MetricPath | None":
        """The path of a training metric: means over the first and last `window` steps; None if it was not logged.

        A value that was logged for several steps counts for all of them.

        >>> logs = [{"loss": loss, "step": step} for step, loss in ((1, 4.0), (2, 2.0), (4, 1.0))]
        >>> MetricPath.training("loss", logs, window=2)
        MetricPath(first=3.0, last=1.0, best=None, best_step=None, num_steps=2)
        """
        logs = [log for log in history if name in log and "loss" in log]
        if not logs:
            return None
        lengths = [max(log["step"] - before, 1) for before, log in _with_step_before(logs)]
        values = list(zip((log[name] for log in logs), lengths, strict=True))
        return MetricPath(_mean(values, window), _mean(values[::-1], window), num_steps=window)


def _with_step_before(logs: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Each log with the step of the one before it."""
    before = 0
    for log in logs:
        yield before, log
        before = log["step"]


def _mean(values: Iterable[tuple[float, int]], num_steps: int) -> float:
    """Mean of values over the first `num_steps` steps, given the steps of each."""
    total, left = 0.0, num_steps
    for value, length in values:
        counted = min(length, left)
        total, left = total + value * counted, left - counted
    return total / (num_steps - left)


@dataclass(frozen=True, slots=True)
class KeptCheckpoint:
    """The checkpoint that became the run's model.

    Args:
        metric: Held-out metric that it was chosen by.
    """

    metric: str
    value: float
    at_start: float | None
    step: int


@dataclass(frozen=True, slots=True)
class RunResult:
    """The content of `summary.json`.

    Args:
        num_steps: Optimizer steps taken, those before a resumption included.
        train, held_out: Path of each metric; `held_out` is empty without held-out data.
        seconds: Time of the run. Of an interrupted part, the time from its first step to its checkpoint.
        peak_memory_bytes: Peak memory of the GPU if there is one, else of the process.
        num_tokens: Tokens learned from, over all ranks.
        stopped_early: True if a signal ended the run before its last step.
        stopped_sick: True if `stop_on_sick` ended the run.
        kept: The checkpoint that became the model, if one was chosen.
        verdict: Has the model changed, and is it better than before? None in files of older versions.
        chat: The way from prompts to text, chat template or raw, with the reason.
    """

    folder: str
    num_steps: int
    train: Mapping[str, MetricPath]
    held_out: Mapping[str, MetricPath]
    seconds: float
    peak_memory_bytes: int
    num_tokens: int
    data: Mapping[str, PartReport]
    stopped_early: bool
    stopped_sick: bool = False
    health: tuple[HealthFinding, ...] = ()
    kept: KeptCheckpoint | None = None
    verdict: Verdict | None = None
    chat: str = ""

    @staticmethod
    def training_paths(history: Sequence[Mapping[str, Any]], *, window: int) -> dict[str, MetricPath]:
        """The path of every training metric in the table at the end."""
        names = [name for name, metric in METRICS.items() if metric.is_at_end and not metric.is_held_out_only]
        found = {name: MetricPath.training(name, history, window=window) for name in names}
        return {name: path for name, path in found.items() if path is not None}

    @staticmethod
    def held_out_paths(history: Sequence[Mapping[str, Any]]) -> dict[str, MetricPath]:
        """The path of every held-out metric in the table at the end, those of a judge included."""
        found = {name: MetricPath.held_out(name, history) for name, metric in METRICS.items() if metric.is_at_end}
        return {name: path for name, path in found.items() if path is not None}

    def table(self) -> Table:
        """The result as a table for the console."""
        stopped = " (stopped)" if self.stopped_early else " (stopped: sick)" if self.stopped_sick else ""
        title = f"{self.num_steps} step{'s' * (self.num_steps != 1)} in {duration_text(self.seconds)}{stopped}"
        table = Table(title=title, title_justify="left", title_style="bold")
        for heading in ("", "first", "last", "best", "at step"):
            table.add_column(heading, justify="left" if not heading else "right")
        for label, paths in (("", self.train), ("held out: ", self.held_out)):
            for name, path in paths.items():
                best = ("", "") if path.best is None else (f"{path.best:z.4f}", str(path.best_step))
                table.add_row(label + name, f"{path.first:z.4f}", f"{path.last:z.4f}", *best)
            window = max((path.num_steps for path in paths.values()), default=0)
            if window > 1:
                table.add_row("", *[f"({window} steps)"] * 2, "", "", style="dim")
        if self.kept is not None:
            start = "" if self.kept.at_start is None else f"{self.kept.at_start:z.4f}"
            best = (f"{self.kept.value:z.4f}", str(self.kept.step))
            table.add_row(f"kept, by held-out {self.kept.metric}", start, "", *best)
        table.add_section()
        for finding in self.health:
            table.add_row(f"health: {finding.title}", "", finding.severity, "", str(finding.step))
        if not self.health:
            table.add_row("health", "", "no finding", "", "")
        table.add_section()
        speed = self.num_tokens / self.seconds if self.seconds else 0.0
        table.add_row("tokens", "", f"{self.num_tokens:,}", "", "")
        table.add_row("tokens per second, all in all", "", f"{speed:,.0f}", "", "")
        table.add_row("peak memory", "", f"{self.peak_memory_bytes / 2**30:.2f} GiB", "", "")
        table.caption = f"model, metrics and settings: {Path(self.folder)}"
        table.caption_justify = "left"
        return table
