"""Progress on the console: the phase of a run, a bar over its steps, and a line for each log."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from typing_extensions import override

from preftune.metrics.catalogue import METRICS

_TRAINING = "training"


def progress_text(metrics: Mapping[str, Any], prefix: str = "") -> str:
    """Main metrics on one line, for the console.

    >>> progress_text({"loss": 0.6931, "rewards/accuracies": 0.5, "epoch": 1.0})
    'loss 0.6931 · accuracy 0.500'
    """
    shown = ((metric.console, metrics.get(prefix + name)) for name, metric in METRICS.items() if metric.console)
    return " · ".join(text.format(value) for text, value in shown if value is not None)


class _LabelledElapsed(TimeElapsedColumn):
    """Time with the word that tells it from the remaining time."""

    @override
    def render(self, task: Task) -> Text:
        return super().render(task) + Text(" elapsed")


class _LabelledRemaining(TimeRemainingColumn):
    """Empty as long as the remaining time is not known."""

    @override
    def render(self, task: Task) -> Text:
        if task.total is None or task.time_remaining is None:
            return Text("")
        return Text(", ") + super().render(task) + Text(" left")


class ProgressDisplay(TrainerCallback):
    """Shows the phase of a run, a bar over its steps and a line per logged step, on the main process only.

    Phases and the bar are shown on terminals, and vanish when they are over.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("steps,"),
            _LabelledElapsed(),
            _LabelledRemaining(),
            console=console,
            transient=True,
        )
        self._task = self._bar.add_task(_TRAINING, total=None)
        self._is_training = False

    @contextmanager
    def phase(self, text: str) -> Iterator[None]:
        """Name what is being done in this context: as the label of the bar, or before training in a line of its own."""
        if self._is_training:
            before = self._bar.tasks[0].description
            self._label(text)
            try:
                yield
            finally:
                self._label(before)
            return
        if not self._console.is_terminal:
            yield
            return
        line = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            _LabelledElapsed(),
            console=self._console,
            transient=True,
        )
        line.add_task(text, total=None)
        with line:
            yield

    @override
    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.is_world_process_zero and self._console.is_terminal:
            self._is_training = True
            self._bar.start()
            self._bar.update(self._task, total=state.max_steps, completed=state.global_step)

    @override
    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._label(_TRAINING)

    @override
    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._bar.update(self._task, completed=state.global_step)
        self._announce_saving(control)

    @override
    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._announce_saving(control)

    @override
    def on_prediction_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self._label("evaluating")

    @override
    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._label(_TRAINING)
        self._announce_saving(control)

    @override
    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._label(_TRAINING)

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
            self._print(f"step {state.global_step:>5}  {progress_text(logs)}")
        elif "eval_loss" in logs:
            self._print(f"held out    {progress_text(logs, 'eval_')}", style="bold")

    @override
    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.close()

    def close(self) -> None:
        """Remove the progress bar from the console."""
        self._is_training = False
        self._bar.stop()

    def _announce_saving(self, control: TrainerControl) -> None:
        if control.should_save and not control.should_evaluate:
            self._label("saving a checkpoint")

    def _label(self, text: str) -> None:
        if text != self._bar.tasks[0].description:
            self._bar.update(self._task, description=text, refresh=self._is_training)

    def _print(self, line: str, style: str | None = None) -> None:
        self._console.print(line, highlight=False, markup=False, soft_wrap=True, style=style)
