"""Result of a sweep, and the record of each of its runs, as JSON files."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from preftune.errors import DataError
from preftune.files.json_files import read_record, write_json
from preftune.metrics.intervals import Interval
from preftune.settings.sweep_sections import ValueKind

Standing = Literal["better", "worse", "unclear"]
"""better, worse: the whole interval is above, or below. unclear: the interval holds the other value."""

Status = Literal["open", "trained", "failed", "sick"]
"""open: not finished. trained: finished. failed: ended by an error; the next call tries again. sick: ended by a health
rule, which would end it again."""


@dataclass(frozen=True, slots=True)
class PointRecord:
    """State of a run of a sweep, over all calls that worked on it.

    Args:
        num_steps: Optimizer steps taken.
        model_step: Step of the checkpoint that became its model.
        seconds: Duration of the last training.
        num_computed: Reference log-probs computed for it, including its evaluation.
        num_kept: Reference log-probs found in the cache by the last training.
        health: Findings of health rules, as severity and title.
    """

    status: Status = "open"
    error: str | None = None
    num_steps: int = 0
    model_step: int = 0
    seconds: float = 0.0
    num_computed: int = 0
    num_kept: int = 0
    health: tuple[tuple[str, str], ...] = ()

    @property
    def is_sick(self) -> bool:
        """True if a health rule says that the model is unusable."""
        return self.status == "sick" or any(severity != "suspect" for severity, _ in self.health)

    def failed(self, error: str) -> "PointRecord":
        """The record with the error that ended the run."""
        return replace(self, status="failed", error=error)

    def write(self, path: Path) -> None:
        """Write it, atomically.

        Raises:
            SaveError: it cannot be written.
        """
        write_json(path, self)

    @staticmethod
    def read(path: Path) -> "PointRecord":
        """The record in a file; an open one if there is none or it is unreadable."""
        try:
            return read_record(PointRecord, path, made_by=_MADE_BY) or PointRecord()
        except DataError:
            return PointRecord()


_FILE = "sweep.json"
_MADE_BY = "`preftune sweep`, which does not repeat finished points"


@dataclass(frozen=True, slots=True)
class ModelRow:
    """An evaluated model.

    Args:
        value, kl: Estimates with intervals; KL in nats.
        on_frontier: True if no other model of the sweep dominates it.
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
        models: Its checkpoints in order, its final model last; empty if not evaluated.
    """

    name: str
    setup: str
    seed: int
    record: PointRecord
    models: tuple[ModelRow, ...]


@dataclass(frozen=True, slots=True)
class SetupRow:
    """Runs that differ in the seed alone.

    Args:
        num_seeds: Number of finished runs.
        value, kl: Means over the seeds, with intervals over prompts.
    """

    setup: str
    num_seeds: int
    value: Interval
    kl: Interval


@dataclass(frozen=True, slots=True)
class Realigned:
    """One run mixed with its reference at several strengths."""

    name: str
    models: tuple[ModelRow, ...]


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The setting to take.

    Args:
        name: The setting; None if none qualifies. With a known value of the reference, a setting qualifies only if its
            own is credibly higher.
        best: The qualifying setting with the highest value; None if none qualifies.
        equals: Settings whose value is not credibly below that of the best, including it, in order of KL.
        is_undecided: True if these are all settings, so that the values do not separate any two.
        reasons: Sentences that explain the choice.
        warnings: Sentences about its weak points.
        against_reference: Value of each setting against that of the reference, by the interval; empty if unknown.
        ties: Settings with the same value on every prompt, group by group.
    """

    name: str | None
    best: str | None
    equals: tuple[str, ...]
    is_undecided: bool
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]
    against_reference: Mapping[str, Standing] = field(default_factory=dict, hash=False)
    ties: tuple[tuple[str, ...], ...] = ()

    @property
    def headline(self) -> str:
        """The recommendation in a sentence.

        >>> Recommendation(None, None, (), False, (), (), {"beta=0.1": "worse"}).headline
        'Recommended: nothing. Every point is worse than the model you began with.'
        """
        if self.name is not None:
            return f"Recommended: {self.name}."
        standings = set(self.against_reference.values())
        if standings == {"worse"}:
            return "Recommended: nothing. Every point is worse than the model you began with."
        if standings and "better" not in standings:
            return "Recommended: nothing. No point is credibly better than the model you began with."
        return "Recommended: nothing."


@dataclass(frozen=True, slots=True)
class SweepResult:
    """Result of a sweep.

    Args:
        value: Kind of value that points are compared by.
        against: The judge's opponent; None for the reference, or without a judge.
        kl_budget: Most KL of a recommended point, in nats; None: no limit.
        points: The runs.
        setups: Means over seeds of the evaluated runs.
        recommendation: The setting to take; None before the sweep is finished.
        realigned: One run at several strengths, if requested.
        sharing: Notes on which points share reference log-probs, and why others do not.
        num_computed: Reference log-probs computed for all points, over all calls.
        stopped: True if a signal interrupted the sweep.
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
        """Number of points that were run and have no evaluated model."""
        return sum(not row.models and row.record.status != "open" for row in self.points)

    @property
    def file(self) -> Path:
        """Path of `sweep.json`."""
        return Path(self.folder) / _FILE

    def write(self) -> None:
        """Write it as JSON, atomically.

        Raises:
            SaveError: it cannot be written.
        """
        write_json(self.file, self)

    @staticmethod
    def read(folder: str | Path) -> "SweepResult":
        """The result in the folder of a sweep.

        Raises:
            DataError: there is none, or it is unreadable.
        """
        path = Path(folder) / _FILE
        found = read_record(SweepResult, path, made_by=_MADE_BY)
        if found is None:
            raise DataError(f"{path}: does not exist. Run `preftune sweep` first; finished points are not repeated.")
        return found
