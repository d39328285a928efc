"""All that a sweep found, as one record that JSON can hold."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from preftune.errors import DataError
from preftune.files.json_files import as_json, from_json
from preftune.files.whole_file import write_whole
from preftune.metrics.intervals import Interval
from preftune.settings.sweep_sections import ValueKind
from preftune.sweep.distance import SureGap
from preftune.sweep.recommendation import Recommendation
from preftune.sweep.record import PointRecord

__all__ = ["ModelRow", "PointRow", "Realigned", "SetupRow", "SweepResult"]

_FILE = "sweep.json"


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A model that was evaluated.

    Args:
        folder: Of the run or checkpoint.
        step: Steps that it was trained for.
        strength: Of the mix with the reference; 1 for the model itself.
        value, kl: With intervals; KL in nats.
        accuracy: On held-out pairs; None without.
        on_frontier: Whether no other model of the sweep has at most its KL and at least its value.
    """

    folder: str
    step: int
    strength: float
    value: Interval
    kl: Interval
    accuracy: Interval | None
    on_frontier: bool


@dataclass(frozen=True, slots=True)
class PointRow:
    """A run.

    Args:
        name: Of its folder.
        setup: What is swept, as text.
        seed: Of the run.
        record: What became of it.
        models: Its checkpoints in order, its model last; empty where it was not evaluated.
    """

    name: str
    setup: str
    seed: int
    record: PointRecord
    models: tuple[ModelRow, ...]


@dataclass(frozen=True, slots=True)
class SetupRow:
    """Points that differ in the seed alone.

    Args:
        setup: What is swept, as text.
        num_seeds: How many came to their end.
        value, kl: Means over the seeds; with several the intervals hold what other seeds would change.
    """

    setup: str
    num_seeds: int
    value: Interval
    kl: Interval


@dataclass(frozen=True, slots=True)
class Realigned:
    """One run mixed with its reference, beside the runs of the sweep.

    Args:
        name: Of the run.
        models: By strength.
        gap: Its value minus that of the trained points at equal KL, mean over the KLs that both cover; None where they
            share no range.
        nearer, farther: The same over the KLs below and above that of the run itself, where strengths are below and
            above 1.
    """

    name: str
    models: tuple[ModelRow, ...]
    gap: SureGap | None
    nearer: SureGap | None
    farther: SureGap | None


@dataclass(frozen=True, slots=True)
class SweepResult:
    """What a sweep found.

    Args:
        folder: Where everything is.
        value: What points are judged by.
        against: Whom a judge compares with; None where that is the reference or nobody.
        confidence: How often an interval is to hold the true value.
        kl_budget: Most KL of a recommended point, in nats; None for no limit.
        reference_value: What the reference is worth; None where nothing says so.
        points: The runs.
        setups: Points that differ in the seed alone as one, where they were evaluated.
        recommendation: Which point to take; None before the sweep is at its end.
        realigned: One run at several strengths; None if it was not asked for.
        sharing: Whether the points share their reference log-probs, and why not.
        num_computed: Reference log-probs computed for all points, over all calls.
        stopped: Whether a signal ended it before its end.
    """

    folder: str
    value: ValueKind
    against: str | None
    confidence: float
    kl_budget: float | None
    reference_value: float | None
    points: tuple[PointRow, ...]
    setups: tuple[SetupRow, ...]
    recommendation: Recommendation | None
    realigned: Realigned | None
    sharing: tuple[str, ...]
    num_computed: int
    stopped: bool

    @property
    def num_failed(self) -> int:
        """Points without a model that could be evaluated, those aside that were not run yet."""
        return sum(not row.models and row.record.status != "open" for row in self.points)

    @property
    def file(self) -> Path:
        """Where it is kept."""
        return Path(self.folder) / _FILE

    def write(self) -> None:
        """Keep it as JSON.

        Raises:
            SaveError: it cannot be written.
        """
        write_whole(self.file, json.dumps(as_json(self), indent=2, ensure_ascii=False) + "\n")

    @staticmethod
    def read(folder: str | Path) -> "SweepResult":
        """The result in the folder of a sweep.

        Raises:
            DataError: there is none that can be read.
        """
        path = Path(folder) / _FILE
        try:
            values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            found: SweepResult = from_json(SweepResult, values)
        except (OSError, ValueError) as error:
            raise DataError(
                f"{path}: holds no result of `preftune sweep` that can be read. {error}. Run the sweep again: what is "
                "done is not done anew."
            ) from error
        return found
