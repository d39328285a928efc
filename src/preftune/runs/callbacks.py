"""Callbacks of a run: the metrics file, health rules, and stopping on a signal."""

import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

from accelerate import PartialState
from rich.console import Console
from rich.style import Style
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState
from typing_extensions import override

from preftune.groups import Origin
from preftune.model.load.load_model import Policy
from preftune.planning.sizes import sizes_of
from preftune.ranks import highest_over_ranks
from preftune.runs.folder import RunFolder
from preftune.runs.prepare_data import PreparedData
from preftune.settings import TrainConfig
from preftune.training.health.finding import HealthFinding, HealthRecord, SickRunError
from preftune.training.health.monitor import HealthMonitor
from preftune.training.health.rule import RunFacts
from preftune.training.tally import kept_state

WARNING = Style(color="yellow", bold=True, meta={"is_warning": True})
"""Style of warnings on a console. Its `meta` marks them for consoles that select warnings."""


class MetricsFile(TrainerCallback):
    """Appends every log to `metrics.jsonl`, and makes the trainer log the last step.

    A resumed run begins with the logs of its checkpoint: what was logged later is logged again.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder

    @override
    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.is_world_process_zero:
            self._folder.keep_metrics([_line(int(log["step"]), log) for log in state.log_history])

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
            self._folder.append_metrics(_line(state.global_step, logs))


def _line(step: int, logs: Mapping[str, Any]) -> dict[str, Any]:
    return {"step": step, **{name: value for name, value in logs.items() if name != "step"}}


class StopOnSignal(TrainerCallback):
    """Finishes the step, saves a checkpoint and stops on Ctrl-C or SIGTERM; a second signal stops at once.

    Before the first step nothing would be lost, so the first signal stops at once. An evaluation in progress is
    finished. One that would follow is skipped, since a resumed run begins with it. A signal to one rank stops all of
    them after the same step.

    Args:
        evaluates: Do not skip evaluations, as each may be that of the best checkpoint.
    """

    def __init__(self, say: Callable[[str], None], *, evaluates: bool = False) -> None:
        self._say = say
        self._evaluates = evaluates
        self._doing = ""
        self.caught: int | None = None
        self._before: dict[int, Any] = {}

    @override
    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._catch) for number in (signal.SIGINT, signal.SIGTERM)}

    @override
    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._doing = "step"

    @override
    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._doing = "evaluation"
        self._stop(control, saves=True)

    @override
    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self._doing:
            self._stop(control, saves=True)

    @override
    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        # The trainer ends the epoch of a run that stops, wherever it is.
        is_over = float(state.epoch or 0).is_integer() or state.global_step >= state.max_steps
        self._stop(control, saves=self._evaluates and is_over and control.should_save)
        if self.caught is not None and not is_over:
            control.should_evaluate = False

    @override
    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.restore()

    def restore(self) -> None:
        """Restore the previous signal handlers."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _stop(self, control: TrainerControl, *, saves: bool) -> None:
        # A launcher signals the processes one by one, and one that went on alone would wait for the others for ever.
        self.caught = highest_over_ranks(self.caught or 0) or None
        if self.caught is None:
            return
        control.should_save = saves
        control.should_training_stop = True
        control.should_evaluate = control.should_evaluate and self._evaluates

    def _catch(self, number: int, _frame: FrameType | None) -> None:
        self.restore()
        if not self._doing:
            raise KeyboardInterrupt
        self.caught = number
        self._say(f"Stopping after this {self._doing}, with a checkpoint. Repeat the signal to stop at once.")


class HealthCallback(TrainerCallback, ExportableState):
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
            if PartialState().is_main_process:
                self._write()
            raise

    @override
    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._run = replace(self._run, max_steps=state.max_steps)
        self._monitor = HealthMonitor(self._run)
        for logs in state.log_history:  # of a resumed run
            self._monitor.see(int(logs["step"]), logs)
        kept = kept_state(self, state)
        self._monitor.blame(kept["rows"] if kept else {})
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
    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self.sick:  # the trainer ends the epoch, wherever it is; a resumed run makes up for its evaluation
            control.should_evaluate = False

    @override
    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.is_world_process_zero:
            self._write()

    @override
    def state(self) -> dict[str, Any]:
        """Content for checkpoints: the rows to blame by rule, which logs do not have."""
        rows = {finding.rule: list(finding.rows) for finding in self._monitor.findings if finding.rows}
        return {"args": {}, "attributes": {"rows": rows}}

    def _write(self) -> None:
        self._folder.write_health(self.record)
