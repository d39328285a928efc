"""The folder of a run: who may write into it, what is in it, and which checkpoints are whole."""

import json
import math
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from preftune.errors import ConfigError, OutputError
from preftune.files.whole_file import write_whole
from preftune.runs.samples import SamplesFile
from preftune.settings import TrainConfig, read_settings

__all__ = ["RunFolder"]

_CONFIG, _RECORD, _METRICS, _SUMMARY = "config.yaml", "run.json", "metrics.jsonl", "summary.json"
_DATA_CHECK, _SAMPLES = "data-check.json", "samples.jsonl"
_LAST_WRITTEN = "trainer_state.json"
_PACKAGES = ("preftune", "torch", "transformers", "accelerate", "peft", "datasets", "tokenizers", "numpy")
_DO_NOT_CHANGE_LEARNING = {
    "output", "overwrite", "resume", "log_every", "eval_every", "save_every", "keep_checkpoints", "report_to",
    "run_name", "num_processes", "reference_cache", "stop_on_sick", "check_data", "eval_kl",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A run's folder.

    Holds `config.yaml` (repeats the run), `run.json` (versions, git state, command), `metrics.jsonl` (a line per log),
    `samples.jsonl` (what the model wrote), `data-check.json`, `health.json`, `summary.json`, the model's files, and
    `checkpoint-N` folders.
    """

    path: Path

    def check(self, config: TrainConfig) -> None:
        """Make sure that the run of `config` may have the folder. Changes nothing in it.

        Raises:
            OutputError: it holds something else, or cannot be written.
            ConfigError: `resume` with other settings than the run began with.
        """
        if config.output.resume:
            self._check_resumable(config)
        elif self._has_content():
            self._check_replaceable(config)
        self._check_writable()

    def begin(self, config: TrainConfig) -> None:
        """Take the folder: empty it if the run starts anew, and write settings, versions, git state and command."""
        if not config.output.resume:
            shutil.rmtree(self.path, ignore_errors=True)
            self.path.mkdir(parents=True)
            # Whoever repeats or resumes the run by this file has not asked for its deletion.
            kept = replace(config, output=replace(config.output, overwrite=False))
            (self.path / _CONFIG).write_text(kept.to_yaml(), encoding="utf-8")
        record = {
            "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "command": sys.argv,
            "python": platform.python_version(),
            "platform": platform.platform(),
            "versions": {name: _version(name) for name in _PACKAGES},
            "git": _git_state(),
        }
        self._write_json(_RECORD, record)

    def append_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Add a line of metrics. What is no finite number becomes null: JSON has none."""
        with (self.path / _METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(_in_json(metrics)) + "\n")

    @property
    def samples(self) -> SamplesFile:
        """What the model wrote as it was trained."""
        return SamplesFile(self.path / _SAMPLES)

    def write_data_check(self, report: Mapping[str, Any]) -> None:
        """Write what is wrong with the data."""
        self._write_json(_DATA_CHECK, report)

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write how the run ended."""
        self._write_json(_SUMMARY, summary)

    def last_checkpoint(self) -> Path | None:
        """The newest whole checkpoint."""
        whole = [folder for folder in self._checkpoints() if (folder / _LAST_WRITTEN).is_file()]
        return max(whole, key=_step_of, default=None)

    def remove_torn_checkpoints(self) -> None:
        """Delete checkpoints whose writing was cut short, so that nothing is loaded from them."""
        for folder in self._checkpoints():
            if not (folder / _LAST_WRITTEN).is_file():
                shutil.rmtree(folder, ignore_errors=True)

    def _checkpoints(self) -> list[Path]:
        return [folder for folder in self.path.glob("checkpoint-*") if folder.is_dir() and _step_of(folder) >= 0]

    def _has_content(self) -> bool:
        if self.path.exists() and not self.path.is_dir():
            raise OutputError(f"output = {self.path}: is a file. Name another folder with --output.")
        return self.path.is_dir() and any(self.path.iterdir())

    def _check_replaceable(self, config: TrainConfig) -> None:
        # Other tools have a config.yaml too; both files together are of a run.
        if not ((self.path / _CONFIG).is_file() and (self.path / _RECORD).is_file()):
            raise OutputError(
                f"output = {self.path}: the folder holds files that are not of a preftune run, and they are not "
                "touched. Name another folder with --output."
            )
        if not config.output.overwrite:
            raise OutputError(
                f"output = {self.path}: the folder already holds a run. Go on with it with --resume, delete it with "
                "--overwrite, or name another folder with --output."
            )

        inside = [name for name in _inputs(config) if Path(name).resolve().is_relative_to(self.path.resolve())]
        if inside:
            raise OutputError(
                f"output = {self.path}: holds {inside[0]}, which the run reads, and --overwrite would delete it. Name "
                "another folder with --output."
            )

    def _check_resumable(self, config: TrainConfig) -> None:
        if not (self.path / _CONFIG).is_file():
            raise OutputError(f"output = {self.path}: holds no run to resume. Leave out --resume to start one.")
        before = TrainConfig.of(**read_settings(self.path / _CONFIG)).flat()
        changed = [
            f"{name} = {value!r}: the run began with {before.get(name)!r}. Leave it as it was to resume, "
            "or start a new run in another folder."
            for name, value in config.flat().items()
            if name not in _DO_NOT_CHANGE_LEARNING and value != before.get(name)
        ]
        if changed:
            raise ConfigError(changed)

    def _check_writable(self) -> None:
        probe = self.path / ".writable"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            probe.write_text("")
            probe.unlink()
        except OSError as error:
            raise OutputError(
                f"output = {self.path}: cannot be written ({error.strerror}). Name another folder with --output."
            ) from None

    def _write_json(self, name: str, content: Mapping[str, Any]) -> None:
        write_whole(self.path / name, json.dumps(_in_json(content), indent=2) + "\n")


def _inputs(config: TrainConfig) -> list[str]:
    """Models and data that a run reads; hub ids among them."""
    models = [config.model.model, config.model.reference_model, config.model.chat_template]
    return [name for name in (*models, *config.data.data, *config.data.eval_data) if name]


def _in_json(value: Any) -> Any:
    """The value with null for what JSON has no number for.

    >>> _in_json({"loss": math.nan, "rows": (1, math.inf)})
    {'loss': None, 'rows': [1, None]}
    """
    if isinstance(value, Mapping):
        return {name: _in_json(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_in_json(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _step_of(checkpoint: Path) -> int:
    step = checkpoint.name.rpartition("-")[2]
    return int(step) if step.isdecimal() else -1


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git_state() -> dict[str, Any] | None:
    """Commit of the current folder, and whether files differ from it; None outside of a repository."""
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
        status = subprocess.run(["git", "status", "--porcelain"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return {"commit": commit.stdout.strip(), "has_changes": bool(status.stdout.strip())}
