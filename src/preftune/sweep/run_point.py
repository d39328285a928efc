"""One point of a sweep: trained or resumed, and evaluated with its checkpoints."""

import gc
import shutil
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

import torch
from rich.console import Console
from rich.style import Style
from typing_extensions import override

from preftune.files.run_files import checkpoint_step
from preftune.files.terminal import PlainConsole
from preftune.model.reference.reference_pass import count_passes
from preftune.runs.folder import RunFolder
from preftune.runs.result import RunResult
from preftune.runs.run import train
from preftune.settings import TrainConfig
from preftune.settings.space import Point
from preftune.settings.sweep_config import SweepConfig
from preftune.sweep.model_evaluation import ModelEvaluation, ModelEvaluator
from preftune.sweep.result import PointRecord

_LOGS = "logs"
_WIDTH = 200


@contextmanager
def logging_console(sweep: Path, name: str, shown: Console) -> Iterator[Console]:
    """A console that appends to `logs/NAME.log` in the sweep's folder, and repeats warnings on `shown`."""
    folder = sweep / _LOGS
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.log").open("a", encoding="utf-8") as file:
        yield _LogConsole(file, shown, name)


class _LogConsole(PlainConsole):
    def __init__(self, file: TextIO, shown: Console, name: str) -> None:
        super().__init__(file=file, width=_WIDTH)
        self._shown, self._name = shown, name

    @override
    def print(self, *objects: Any, style: Any = None, **settings: Any) -> None:
        super().print(*objects, style=style, **settings)
        self.file.flush()
        if isinstance(style, Style) and style.meta.get("is_warning"):
            self._shown.print(f"{self._name}:", *objects, style=style, markup=False, highlight=False, soft_wrap=True)


_RECORDS = "records"
_LONGEST_ERROR = 500


@dataclass(frozen=True, slots=True)
class PointOutcome:
    """A point with its state.

    Args:
        evaluations: Evaluations of its checkpoints in order, of its final model last; empty if it failed.
        was_done: True if an earlier call had trained it.
    """

    point: Point
    record: PointRecord
    evaluations: tuple[ModelEvaluation, ...] = ()
    was_done: bool = False

    @property
    def final(self) -> ModelEvaluation | None:
        """The evaluation of its final model, if there is one."""
        return self.evaluations[-1] if self.evaluations else None


@dataclass(frozen=True, slots=True)
class PointRunner:
    """Runs points of a sweep. `console` gets warnings; all output goes to `logs/POINT.log` in the sweep's folder."""

    config: SweepConfig
    console: Console

    def run(self, point: Point) -> PointOutcome:
        """Train or resume the point unless it is finished, and evaluate what is not evaluated yet.

        An error is recorded and ends this point alone.

        Raises:
            KeyboardInterrupt: a signal ended it; the next call resumes it.
        """
        path = self.config.folder / _RECORDS / f"{point.name}.json"
        record = PointRecord.read(path)
        was_done = (
            record.status in ("trained", "sick") and RunFolder(Path(point.config.output.output)).finished() is not None
        )
        evaluations: tuple[ModelEvaluation, ...] = ()
        with (
            logging_console(self.config.folder, point.name, self.console) as log,
            count_passes() as passes,
        ):
            try:
                if not was_done:
                    record = self._trained(point, replace(record, status="open", error=None), log)
                if record.status == "trained":
                    evaluations = tuple(self._evaluations(point, record, log))
                    record = replace(record, error=None)
            except Exception as error:
                log.print(traceback.format_exc(), markup=False, highlight=False)
                record = record.failed(_text(error))
            finally:
                replace(record, num_computed=record.num_computed + passes.num_computed).write(path)
                _free_memory()
        return PointOutcome(point, PointRecord.read(path), evaluations, was_done=was_done)

    def look(self, point: Point) -> PointOutcome:
        """The recorded state of a point, without running anything."""
        record = PointRecord.read(self.config.folder / _RECORDS / f"{point.name}.json")
        if record.status != "trained":
            return PointOutcome(point, record)
        kept = [ModelEvaluation.read(folder) for folder, _ in _models(point, record)]
        found = tuple(item for item in kept if item is not None)
        return PointOutcome(point, record, found if len(found) == len(kept) else ())

    def _trained(self, point: Point, record: PointRecord, log: Console) -> PointRecord:
        folder = RunFolder(Path(point.config.output.output))
        ended = folder.finished()
        if ended is not None:  # the sweep was killed between the end of the run and its record
            return _ended(record, ended)
        resumes = folder.last_checkpoint() is not None
        if not resumes:
            shutil.rmtree(folder.path, ignore_errors=True)
        with count_passes() as passes:
            result = train(_resuming(point.config, resumes=resumes), console=log)
        if result.stopped_early:
            raise KeyboardInterrupt
        return replace(_ended(record, result), num_kept=passes.num_kept)

    def _evaluations(self, point: Point, record: PointRecord, log: Console) -> Iterator[ModelEvaluation]:
        evaluator = ModelEvaluator(self.config, log)
        for folder, step in _models(point, record):
            yield evaluator.of_model(folder, step)


def _models(point: Point, record: PointRecord) -> list[tuple[Path, int]]:
    """Folder and step of the kept checkpoints, in order, and of the final model."""
    folder = Path(point.config.output.output)
    steps = [(path, checkpoint_step(path)) for path in RunFolder(folder).checkpoints()]
    found = [(path, step) for path, step in steps if step != record.model_step]
    return [*found, (folder, record.model_step)]


def _ended(record: PointRecord, result: RunResult) -> PointRecord:
    sick = result.stopped_sick
    return replace(
        record,
        status="sick" if sick else "trained",
        error="the run was sick and ended" if sick else None,
        num_steps=result.num_steps,
        model_step=result.num_steps if result.kept is None else result.kept.step,
        seconds=result.seconds,
        health=tuple((finding.severity, finding.title) for finding in result.health),
    )


def _resuming(config: TrainConfig, *, resumes: bool) -> TrainConfig:
    return replace(config, output=replace(config.output, resume=resumes))


def _text(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:_LONGEST_ERROR]}"


def _free_memory() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
