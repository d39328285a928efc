"""Folder of a run as reports read it, with its evaluations. Missing parts are None or empty."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from preftune.errors import ConfigError, DataError, OutputError
from preftune.evaluation.result import EvaluationResult
from preftune.files.json_files import read_json_object
from preftune.files.run_files import CONFIG, ENVIRONMENT, EVALUATION, SUMMARY, checkpoint_step, is_checkpoint, is_run
from preftune.losses import Method, loss_options, losses_of
from preftune.runs.data_report import DataCheckRecord
from preftune.runs.folder import Environment, RunFolder
from preftune.runs.logs import Log, Series, series_of
from preftune.runs.result import KeptCheckpoint, RunResult
from preftune.runs.samples import SamplesLine
from preftune.training.health.finding import HealthFinding, HealthRecord

RunState = Literal["finished", "stopped", "sick", "failed", "unfinished"]
"""End of a run: complete, by a signal, by `stop_on_sick`, by a fatal error, or unknown (still training, or killed)."""


@dataclass(frozen=True, slots=True, eq=False)
class RunRecord:
    """Everything a run has written.

    Args:
        settings: Content of `config.yaml` by name.
        environment, logs, summary, health, data_check, samples: Contents of the files of `RunFolder`.
        evaluation: Result of `preftune eval`.
        evaluation_problem: Reason why it cannot be read or is out of date.
        realigned: Results of `preftune eval --strength`, by rising strength.
    """

    folder: Path
    settings: Mapping[str, Any]
    environment: Environment | None
    logs: tuple[Log, ...]
    summary: RunResult | None
    health: HealthRecord | None
    data_check: DataCheckRecord | None
    samples: tuple[SamplesLine, ...]
    evaluation: EvaluationResult | None
    evaluation_problem: str | None
    realigned: tuple[EvaluationResult, ...] = ()

    @staticmethod
    def read(folder: Path) -> "RunRecord":
        """Read the folder.

        Raises:
            OutputError: it does not exist, or is no run.
            ConfigError, DataError: a file in it is damaged.
        """
        check_run(folder)
        run = RunFolder(folder)
        evaluation, problem = _evaluation(folder)
        samples = {line.step: line for line in run.samples.lines()}
        return RunRecord(
            folder=folder,
            settings=run.settings(),
            environment=run.environment(),
            logs=run.logs(),
            summary=run.summary(),
            health=run.health(),
            data_check=run.data_check(),
            samples=tuple(samples[step] for step in sorted(samples)),
            evaluation=evaluation,
            evaluation_problem=problem,
            realigned=_realigned(folder),
        )

    @property
    def name(self) -> str:
        """The name of the folder."""
        return self.folder.resolve().name

    @property
    def method(self) -> Method | None:
        """The method; None if this version does not know it."""
        name = str(self.settings.get("method", "dpo"))
        try:
            known = {option.name for loss in losses_of(name).values() for option in loss_options(loss)}
            options = {key: value for key, value in self.settings.items() if key.rpartition(".")[2] in known}
            return Method.named(name, options)
        except ConfigError:
            return None

    @property
    def is_preference_run(self) -> bool:
        """True if the run learned from preferences, not from demonstrations."""
        return self.method is None or self.method.feedback != "demonstrations"

    @property
    def num_steps(self) -> int:
        """The last logged step."""
        return max((log["step"] for log in self.logs), default=0)

    @property
    def state(self) -> RunState:
        """End of the run."""
        if self.summary is None or self.summary.num_steps < self.num_steps:
            return "failed" if any(finding.severity == "fatal" for finding in self.findings) else "unfinished"
        if self.summary.stopped_sick:
            return "sick"
        return "stopped" if self.summary.stopped_early else "finished"

    @property
    def findings(self) -> tuple[HealthFinding, ...]:
        """Findings of the health rules."""
        if self.health is not None:
            return self.health.findings
        return () if self.summary is None else self.summary.health

    @property
    def kept(self) -> KeptCheckpoint | None:
        """The checkpoint that became the model, if one was chosen."""
        return None if self.summary is None else self.summary.kept

    @property
    def holds_out(self) -> bool:
        """True if the run held out data."""
        settings = self.settings
        return bool(settings.get("eval_data") or settings.get("eval_split") or settings.get("eval_fraction"))

    def series(self, metric: str) -> Series:
        """A metric over the steps."""
        return series_of(self.logs, metric)

    def model_path(self) -> Path | None:
        """The newest model: that of the run, else that of its last checkpoint; None without either."""
        checkpoints = sorted(self.folder.glob("checkpoint-*"), key=checkpoint_step)
        return next((place for place in (self.folder, *reversed(checkpoints)) if _holds_model(place)), None)


def check_run(folder: Path) -> None:
    """Check that a folder belongs to a run.

    Raises:
        OutputError: it is not.
    """
    if not folder.exists():
        raise OutputError(f"{folder}: there is no such folder. Name the folder of a run.")
    if not folder.is_dir():
        raise OutputError(f"{folder}: is a file. Name the folder of a run.")
    if is_run(folder):
        return
    parent = folder.resolve().parent
    if is_checkpoint(folder.resolve()) and is_run(parent):
        shown = folder.parent if folder.parent != Path() else parent
        raise OutputError(f"{folder}: is a checkpoint, and a report is of a whole run. Name the run: {shown}.")
    raise OutputError(
        f"{folder}: is not the folder of a run: {CONFIG} and {ENVIRONMENT} are missing. Name the --output of "
        "`preftune train` or `preftune sft`."
    )


def _evaluation(folder: Path) -> tuple[EvaluationResult | None, str | None]:
    path = folder / EVALUATION
    if not path.is_file():
        return None, None
    result = _result(path)
    if result is None:
        return None, "evaluation.json is of another version of preftune and cannot be read. Evaluate the model again."
    summary = folder / SUMMARY
    if summary.is_file() and summary.stat().st_mtime > path.stat().st_mtime:
        return result, "The evaluation is older than the model: the run went on after it. Evaluate it again."
    return result, None


def _realigned(folder: Path) -> tuple[EvaluationResult, ...]:
    """Results at other strengths; files of another version are left out."""
    found = [result for path in folder.glob("evaluation-strength-*.json") if (result := _result(path)) is not None]
    return tuple(sorted(found, key=lambda result: result.strength or 0.0))


def _result(path: Path) -> EvaluationResult | None:
    """The result in a file; None if another version wrote it."""
    try:
        return EvaluationResult.from_dict(read_json_object(path, made_by="`preftune eval`") or {})
    except ValueError as error:
        if isinstance(error, DataError):
            raise
        return None


def _holds_model(folder: Path) -> bool:
    return any(folder.glob("*.safetensors"))
