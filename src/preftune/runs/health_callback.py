"""Health of a run during training: applies the rules to every log, shows and stores their findings."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from typing_extensions import override

from preftune.groups import Origin
from preftune.model.load.load_model import Policy
from preftune.planning import sizes_of
from preftune.runs.callbacks import WARNING
from preftune.runs.folder import HealthRecord, RunFolder
from preftune.runs.prepare_data import PreparedData
from preftune.settings import TrainConfig
from preftune.training.health.finding import HealthFinding, SickRunError
from preftune.training.health.monitor import HealthMonitor
from preftune.training.health.rule import RunFacts
from preftune.training.health.table import RULES

__all__ = ["HealthCallback"]


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

    def _write(self) -> None:
        rules = self._monitor.rules
        not_applied = {name: rule.needs for name, rule in RULES.items() if name not in rules}
        self._folder.write_health(HealthRecord(self.findings, tuple(rules), not_applied))
