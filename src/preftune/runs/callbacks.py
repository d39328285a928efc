"""Callbacks of a run: progress on the console, the metrics file, and stopping on a signal."""

import signal
import threading
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.style import Style
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from typing_extensions import override

from preftune.metrics.catalogue import METRICS
from preftune.runs.folder import RunFolder

__all__ = ["WARNING", "MetricsFile", "ProgressDisplay", "StopOnSignal", "progress_text"]

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
