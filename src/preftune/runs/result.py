"""Result of a run: its numbers, and a table of them for the console."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from preftune.files.number_text import duration_text
from preftune.metrics.catalogue import METRICS
from preftune.runs.data_report import PartReport
from preftune.training.health.finding import HealthFinding

__all__ = ["KeptCheckpoint", "RunResult"]


@dataclass(frozen=True, slots=True)
class MetricPath:
    """First, last and best value of a metric, and the step of the best one."""

    first: float
    last: float
    best: float
    best_step: int

    @staticmethod
    def of(name: str, history: Sequence[Mapping[str, Any]], prefix: str) -> "MetricPath | None":
        """The path of a metric through the logs; None if it was not logged.

        >>> MetricPath.of("loss", [{"loss": 2.0, "step": 1}, {"loss": 1.0, "step": 2}, {"loss": 1.5, "step": 3}], "")
        MetricPath(first=2.0, last=1.5, best=1.0, best_step=2)
        """
        values = [(log[prefix + name], log["step"]) for log in history if prefix + name in log]
        if not values:
            return None
        pick = min if METRICS[name].direction == "lower" else max
        best, step = pick(values, key=lambda item: item[0])
        return MetricPath(values[0][0], values[-1][0], best, step)


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
        seconds: Time since the start or the last resumption.
        peak_memory_bytes: Peak memory of the GPU if there is one, else of the process.
        num_tokens: Tokens learned from since the start or the last resumption.
        stopped_early: True if a signal ended the run before its last step.
        stopped_sick: True if `stop_on_sick` ended the run.
        kept: The checkpoint that became the model, if one was chosen.
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

    @staticmethod
    def paths(history: Sequence[Mapping[str, Any]], prefix: str = "") -> dict[str, MetricPath]:
        """The path of every metric in the table at the end."""
        found = {name: MetricPath.of(name, history, prefix) for name, metric in METRICS.items() if metric.is_at_end}
        return {name: path for name, path in found.items() if path is not None}

    def table(self) -> Table:
        """The result as a table for the console."""
        stopped = " (stopped)" if self.stopped_early else " (stopped: sick)" if self.stopped_sick else ""
        title = f"{self.num_steps} steps in {duration_text(self.seconds)}{stopped}"
        table = Table(title=title, title_justify="left", title_style="bold")
        for heading in ("", "first", "last", "best", "at step"):
            table.add_column(heading, justify="left" if not heading else "right")
        for label, paths in (("", self.train), ("held out: ", self.held_out)):
            for name, path in paths.items():
                best = (f"{path.best:z.4f}", str(path.best_step)) if METRICS[name].has_best else ("", "")
                table.add_row(label + name, f"{path.first:z.4f}", f"{path.last:z.4f}", *best)
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
