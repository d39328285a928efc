"""Callbacks of a run: progress on the console, the metrics file, health rules, and stopping on a signal."""

import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.style import Style
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from typing_extensions import override

from preftune.groups import Origin
from preftune.metrics.catalogue import METRICS
from preftune.model.load.load_model import Policy
from preftune.planning import sizes_of
from preftune.runs.folder import RunFolder
from preftune.runs.prepare_data import PreparedData
from preftune.settings import TrainConfig
from preftune.training.health.finding import HealthFinding, HealthRecord, SickRunError
from preftune.training.health.monitor import HealthMonitor
from preftune.training.health.rule import RunFacts

__all__ = ["WARNING", "HealthCallback", "MetricsFile", "ProgressDisplay", "StopOnSignal"]

WARNING = Style(color="yellow", bold=True, meta={"is_warning": True})
"""Style of warnings on a console. Its `meta` marks them for consoles that select warnings."""


def progress_text(metrics: Mapping[str, Any], prefix: str = "") -> str:
    """Main metrics on one line, for the console.

    >>> progress_text({"loss": 0.6931, "rewards/accuracies": 0.5, "epoch": 1.0})
    'loss 0.6931 · accuracy 0.500'
    """
    shown = ((metric.console, metrics.get(prefix + name)) for name, metric in METRICS.items() if metric.console)
    return " · ".join(text.format(value) for text, value in shown if value is not None)


class ProgressDisplay(TrainerCallback):
    """Shows a progress bar and a line per logged step, on the main process only."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("steps"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._task = self._progress.add_task("training", total=None)

    @override
    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.is_world_process_zero:
            self._progress.start()
            self._progress.update(self._task, total=state.max_steps, completed=state.global_step)

    @override
    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._progress.update(self._task, completed=state.global_step)

    @override
    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        if not state.is_world_process_zero or logs is None:
            return
        if "loss" in logs:
            self._console.print(f"step {state.global_step:>5}  {progress_text(logs)}", highlight=False, soft_wrap=True)
        elif "eval_loss" in logs:
            self._console.print(
                f"held out    {progress_text(logs, 'eval_')}", highlight=False, soft_wrap=True, style="bold"
            )

    @override
    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.close()

    def close(self) -> None:
        """Remove the progress bar from the console."""
        self._progress.stop()


class MetricsFile(TrainerCallback):
    """Appends every log to `metrics.jsonl`, and makes the trainer log the last step."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder

    @override
    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.global_step >= state.max_steps:
            control.should_log = True

    @override
    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        if state.is_world_process_zero and logs is not None:
            self._folder.append_metrics({"step": state.global_step, **logs})


class StopOnSignal(TrainerCallback):
    """Finishes the step, saves a checkpoint and stops on Ctrl-C or SIGTERM; a second signal stops at once."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self.caught: int | None = None
        self._before: dict[int, Any] = {}

    @override
    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._catch) for number in (signal.SIGINT, signal.SIGTERM)}

    @override
    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self.caught is not None:
            control.should_save = True
            control.should_training_stop = True

    @override
    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.restore()

    def restore(self) -> None:
        """Restore the previous signal handlers."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _catch(self, number: int, _frame: FrameType | None) -> None:
        self.caught = number
        self._say("Stopping after this step, with a checkpoint. Repeat the signal to stop at once.")
        self.restore()


class HealthCallback(TrainerCallback):
    """Shows findings, stores them in `health.json`, and ends a sick run if `stop_on_sick` is set.

    Args:
        run: Facts that rules need; `max_steps` is taken from the trainer.
        rows: Gives the origins of the rows of the last step.
        stops: End the run, with a checkpoint, on a finding worse than suspect.

    `sick` is true once it has ended the run.
    """

    def __init__(
        self,
        run: RunFacts,
        folder: RunFolder,
        say: Callable[[str], None],
        *,
        rows: Callable[[], Sequence[Origin]] = tuple,
        stops: bool = False,
    ) -> None:
        self._run = run
        self._folder = folder
        self._say = say
        self._rows = rows
        self._stops = stops
        self._monitor = HealthMonitor(run)
        self.sick = False

    @staticmethod
    def of(
        config: TrainConfig,
        data: PreparedData,
        policy: Policy,
        console: Console,
        *,
        rows: Callable[[], Sequence[Origin]],
    ) -> "HealthCallback":
        """The callback of a run."""
        counted = config.method.counted
        run = RunFacts(
            method=config.method,
            batch_size=config.steps.batch_size,
            num_train=sum(size.count(counted) for size in sizes_of(data.train)),
            num_held_out=sum(size.count(counted) for size in sizes_of(data.held_out)),
            max_steps=0,
            starts_at_reference=policy.starts_at_reference,
            num_samples=len(data.prompts),
        )

        def say(line: str) -> None:
            console.print(line, style=WARNING, highlight=False, markup=False, soft_wrap=True)

        folder = RunFolder(Path(config.output.output))
        return HealthCallback(run, folder, say, rows=rows, stops=config.health.stop_on_sick)

    @property
    def findings(self) -> tuple[HealthFinding, ...]:
        """Findings so far."""
        return self._monitor.findings

    @property
    def record(self) -> HealthRecord:
        """Findings so far, and the rules that could judge."""
        return self._monitor.record

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Context that also stores the finding of an error that ends the run."""
        try:
            yield
        except SickRunError as error:
            self._monitor.add(error.finding)
            self._write()
            raise

    @override
    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._run = replace(self._run, max_steps=state.max_steps)
        self._monitor = HealthMonitor(self._run)
        for logs in state.log_history:  # of a resumed run
            self._monitor.see(int(logs["step"]), logs)
        if state.is_world_process_zero:
            self._write()

    @override
    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        news = self._monitor.see(state.global_step, logs or {}, self._rows)
        if self._stops and any(finding.severity != "suspect" for finding in news):
            self.sick = control.should_save = control.should_training_stop = True
        if news and state.is_world_process_zero:
            for finding in news:
                self._say(str(finding))
            self._write()

    @override
    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.is_world_process_zero:
            self._write()

    def _write(self) -> None:
        self._folder.write_health(self.record)
