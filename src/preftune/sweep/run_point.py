"""One point of a sweep run: trained or resumed, evaluated with its checkpoints, and what became of it written down."""

import gc
import shutil
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from rich.console import Console

from preftune.files.run_files import checkpoint_step
from preftune.model.reference.reference_pass import count_passes
from preftune.runs.folder import RunFolder
from preftune.runs.result import RunResult
from preftune.runs.run import train
from preftune.settings import TrainConfig
from preftune.settings.space import Point
from preftune.settings.sweep_config import SweepConfig
from preftune.sweep.evaluate_model import ModelEvaluator
from preftune.sweep.evaluated import Evaluated
from preftune.sweep.log_console import logging_console
from preftune.sweep.record import PointRecord

__all__ = ["PointOutcome", "PointRunner"]

_RECORDS = "records"
_LONGEST_ERROR = 500


@dataclass(frozen=True, slots=True)
class PointOutcome:
    """A point and what became of it.

    Args:
        point: With its settings.
        record: Of its run.
        evaluations: Of its checkpoints in order, its model last; empty where it failed.
        was_done: Whether an earlier call had trained it.
    """

    point: Point
    record: PointRecord
    evaluations: tuple[Evaluated, ...] = ()
    was_done: bool = False

    @property
    def final(self) -> Evaluated | None:
        """The evaluation of its model."""
        return self.evaluations[-1] if self.evaluations else None


@dataclass(frozen=True, slots=True)
class PointRunner:
    """Runs points of a sweep, one after the other.

    Args:
        config: Of the sweep.
        console: Gets warnings; all else goes to `logs/POINT.log` in the sweep's folder.
    """

    config: SweepConfig
    console: Console

    def run(self, point: Point) -> PointOutcome:
        """Train the point, or go on with it, or leave it as it is, and evaluate what was not evaluated yet.

        An error is written down and ends nothing but the point.

        Raises:
            KeyboardInterrupt: a signal ended it; the next call goes on.
        """
        path = self.config.folder / _RECORDS / f"{point.name}.json"
        record = PointRecord.read(path)
        was_done = (
            record.status in ("trained", "sick") and RunFolder(Path(point.config.output.output)).finished() is not None
        )
        evaluations: tuple[Evaluated, ...] = ()
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
        """What is known of a point, with nothing run."""
        record = PointRecord.read(self.config.folder / _RECORDS / f"{point.name}.json")
        if record.status != "trained":
            return PointOutcome(point, record)
        kept = [Evaluated.read(folder) for folder, _ in _models(point, record)]
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

    def _evaluations(self, point: Point, record: PointRecord, log: Console) -> Iterator[Evaluated]:
        evaluator = ModelEvaluator(self.config, log)
        for folder, step in _models(point, record):
            yield evaluator.of_model(folder, step)


def _models(point: Point, record: PointRecord) -> list[tuple[Path, int]]:
    """Checkpoints that the run kept and that are not its model, in order, and its model; with their steps."""
    folder = Path(point.config.output.output)
    steps = [(path, checkpoint_step(path)) for path in RunFolder(folder).checkpoints()]
    found = [(path, step) for path, step in steps if step != record.model_step]
    return [*found, (folder, record.model_step)]


def _ended(record: PointRecord, result: RunResult) -> PointRecord:
    """The record of a point whose run has ended."""
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
    """What an error says in one line, with its kind."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:_LONGEST_ERROR]}"


def _free_memory() -> None:
    """The next point gets all of it."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
