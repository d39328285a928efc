"""Folder of a run: its files, written and read as typed records, and its checkpoints."""

import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType
from typing import Any

from preftune.errors import ConfigError, DataError, OutputError
from preftune.files.json_files import append_json_line, keep_json_lines, read_record, write_json, write_whole
from preftune.files.outputs import check_writable, empty_folder, holds_earlier
from preftune.files.run_files import (
    CONFIG,
    DATA_CHECK,
    ENVIRONMENT,
    HEALTH,
    METRICS,
    SAMPLES,
    SUMMARY,
    TRAINER_STATE,
    checkpoint_step,
    is_barely_begun,
    is_checkpoint,
    is_run,
)
from preftune.runs.data_report import DataCheckRecord
from preftune.runs.logs import Log, read_logs
from preftune.runs.manifest import damage_of
from preftune.runs.result import RunResult
from preftune.runs.samples import SamplesFile
from preftune.settings import SETTINGS, TrainConfig, read_settings
from preftune.training.health.finding import HealthRecord

_PACKAGES = ("preftune", "torch", "transformers", "accelerate", "peft", "datasets", "tokenizers", "numpy")


_TRAINING = "the run's `preftune train`"


@dataclass(frozen=True, slots=True)
class GitState:
    """Commit of the folder that the run was started in; `has_changes` is true if files differ from it."""

    commit: str
    has_changes: bool = False


@dataclass(frozen=True, slots=True)
class InputDigest:
    """One input of a run by its content, whatever its path.

    Args:
        digest: Equal only for equal content.
        size: Size, for people.
    """

    digest: str
    size: str


@dataclass(frozen=True, slots=True)
class Environment:
    """The content of `run.json`: time, machine, versions and command of a run's start.

    Args:
        started: Local time in ISO 8601.
        command: Arguments of the command line.
        versions: Versions of the main packages; None for those not installed.
        git: State of the repository; None outside of one.
        inputs: Hashes of data and models, so that a resumed run can be checked for the same inputs.
    """

    started: str
    command: tuple[str, ...]
    python: str
    platform: str
    versions: Mapping[str, str | None]
    git: GitState | None = None
    inputs: Mapping[str, InputDigest] = field(default_factory=dict, hash=False)

    @staticmethod
    def now(inputs: Mapping[str, InputDigest] = MappingProxyType({})) -> "Environment":
        """The environment of this process, for a run with these inputs."""
        return Environment(
            started=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            command=_command(sys.argv),
            python=platform.python_version(),
            platform=platform.platform(),
            versions={name: _version(name) for name in _PACKAGES},
            git=_git_state(),
            inputs=inputs,
        )


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A run's folder.

    Holds `config.yaml` (settings, repeats the run), `run.json` (`Environment`), `metrics.jsonl` (a line per log),
    `samples.jsonl` (`SamplesFile`), `data-check.json` (`DataCheckRecord`), `health.json` (`HealthRecord`),
    `summary.json` (`RunResult`), the model's files, and `checkpoint-N` folders. Each record is None if its file is
    missing, as in a run that was killed or is still training.
    """

    path: Path

    def check(self, config: TrainConfig) -> None:
        """Check that the run of `config` may use the folder, without changing it.

        Raises:
            OutputError: it holds something else, or cannot be written.
            ConfigError: `resume` with other settings than the run began with.
        """
        if config.output.resume:
            self._check_resumable(config)
        elif not is_barely_begun(self.path) and holds_earlier(self.path, "preftune run", is_run):
            self._check_replaceable(config)
        check_writable(self.path)

    def begin(self, config: TrainConfig, inputs: Mapping[str, InputDigest] = MappingProxyType({})) -> None:
        """Start writing: empty the folder unless the run resumes, and write settings, environment and inputs."""
        if not config.output.resume:
            empty_folder(self.path, last=(CONFIG, ENVIRONMENT))
            # Repeating or resuming the run from this file must not delete it.
            kept = replace(config, output=replace(config.output, overwrite=False))
            write_whole(self.path / CONFIG, kept.to_yaml())
        write_json(self.path / ENVIRONMENT, Environment.now(inputs))

    def append_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Add a line to `metrics.jsonl`; NaN and infinity become null."""
        append_json_line(self.path / METRICS, metrics)

    def keep_metrics(self, logs: Sequence[Mapping[str, Any]]) -> None:
        """Make `metrics.jsonl` hold just these logs. Its own lines of them stay as they are."""
        keep_json_lines(self.path / METRICS, logs)

    @property
    def samples(self) -> SamplesFile:
        """The file of samples drawn during training."""
        return SamplesFile(self.path / SAMPLES)

    def write_health(self, record: HealthRecord) -> None:
        """Write `health.json`."""
        write_json(self.path / HEALTH, record)

    def write_data_check(self, record: DataCheckRecord) -> None:
        """Write `data-check.json`."""
        write_json(self.path / DATA_CHECK, record)

    def write_summary(self, summary: RunResult) -> None:
        """Write `summary.json`."""
        write_json(self.path / SUMMARY, summary)

    def settings(self) -> dict[str, Any]:
        """The settings in `config.yaml` by name."""
        return read_settings(self.path / CONFIG)

    def environment(self) -> Environment | None:
        """The content of `run.json`."""
        return read_record(Environment, self.path / ENVIRONMENT, made_by=_TRAINING)

    def logs(self) -> tuple[Log, ...]:
        """The lines of `metrics.jsonl`, merged over resumptions."""
        return read_logs(self.path / METRICS)

    def health(self) -> HealthRecord | None:
        """The content of `health.json`."""
        return read_record(HealthRecord, self.path / HEALTH, made_by=_TRAINING)

    def data_check(self) -> DataCheckRecord | None:
        """The content of `data-check.json`."""
        made_by = "`preftune check DATA --json FILE`"
        return read_record(DataCheckRecord, self.path / DATA_CHECK, made_by=made_by)

    def summary(self) -> RunResult | None:
        """The content of `summary.json`."""
        return read_record(RunResult, self.path / SUMMARY, made_by=_TRAINING)

    def finished(self) -> RunResult | None:
        """The summary of a run that ended by itself; None if a signal stopped it or the summary cannot be read."""
        try:
            summary = self.summary()
        except DataError:
            return None
        return None if summary is None or summary.stopped_early else summary

    def ended(self) -> RunResult | None:
        """The summary of a run that has its model and nothing left to do."""
        summary = self.finished()
        has_model = any(path.suffix == ".safetensors" for path in self.path.iterdir())
        return summary if summary is not None and has_model and not summary.stopped_sick else None

    def checkpoints(self) -> list[Path]:
        """Complete checkpoints by rising step."""
        return [folder for folder in self._checkpoints() if (folder / TRAINER_STATE).is_file()]

    def last_checkpoint(self) -> Path | None:
        """The newest complete checkpoint."""
        return next(reversed(self.checkpoints()), None)

    def remove_torn_checkpoints(self) -> None:
        """Delete incomplete checkpoints, so that nothing is loaded from them."""
        for folder in set(self._checkpoints()) - set(self.checkpoints()):
            shutil.rmtree(folder, ignore_errors=True)

    def whole_checkpoint(self, say: Callable[[str], None]) -> Path | None:
        """The newest checkpoint that is whole. Torn ones are deleted, damaged ones renamed, and `say` hears of them.

        Older ones that lack files are deleted, too: a run that was killed while it deleted one would keep it for ever.
        """
        self.remove_torn_checkpoints()
        for folder in reversed(self.checkpoints()):
            damage = damage_of(folder)
            if damage is None:
                self._remove_half_deleted(folder)
                return folder
            aside = folder.with_name(f"damaged-{folder.name}")
            shutil.rmtree(aside, ignore_errors=True)
            folder.rename(aside)
            say(f"{folder.name} is damaged ({damage}) and is set aside as {aside.name}")
        return None

    def _remove_half_deleted(self, newest: Path) -> None:
        older = self.checkpoints()
        for folder in older[: older.index(newest)]:
            if damage_of(folder, reads_files=False) is not None:
                shutil.rmtree(folder, ignore_errors=True)

    def _checkpoints(self) -> list[Path]:
        found = [folder for folder in self.path.glob("checkpoint-*") if folder.is_dir() and is_checkpoint(folder)]
        return sorted(found, key=checkpoint_step)

    def _check_replaceable(self, config: TrainConfig) -> None:
        if not config.output.overwrite:
            raise OutputError(
                f"output = {self.path}: the folder already holds a run. Resume it with --resume, delete it with "
                "--overwrite, or name another folder with --output."
            )

        inside = [name for name in _inputs(config) if Path(name).resolve().is_relative_to(self.path.resolve())]
        if inside:
            raise OutputError(
                f"output = {self.path}: holds {inside[0]}, which the run reads, and --overwrite would delete it. Name "
                "another folder with --output."
            )

    def _check_resumable(self, config: TrainConfig) -> None:
        config_file = self.path / CONFIG
        if not config_file.is_file() or not config_file.stat().st_size:
            raise OutputError(f"output = {self.path}: holds no run to resume. Leave out --resume to start one.")
        before = TrainConfig.of(**self.settings()).flat()
        changed = [
            f"{name} = {value!r}: the run began with {before.get(name)!r}. Leave it as it was to resume, "
            "or start a new run in another folder."
            for name, value in config.flat().items()
            if (name not in SETTINGS or SETTINGS[name].changes == "result") and value != before.get(name)
        ]
        if changed:
            raise ConfigError(changed)


def _inputs(config: TrainConfig) -> list[str]:
    models = [config.model.model, config.model.reference_model, config.model.chat_template]
    return [name for name in (*models, *config.data.data, *config.data.eval_data) if name]


def _command(arguments: Sequence[str]) -> tuple[str, ...]:
    """The command line as a person would type it.

    >>> _command(["/site-packages/preftune/__main__.py", "train", "--lora"])
    ('python', '-m', 'preftune', 'train', '--lora')
    """
    program, *others = arguments
    is_module = Path(program).name == "__main__.py"
    return ("python", "-m", Path(program).parent.name, *others) if is_module else tuple(arguments)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git_state() -> GitState | None:
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
        status = subprocess.run(["git", "status", "--porcelain"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return GitState(commit.stdout.strip(), has_changes=bool(status.stdout.strip()))
