"""A sweep: run the points one after the other, then analyse them."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from preftune.errors import ConfigError, PreftuneError
from preftune.files.outputs import writing_into
from preftune.runs.inputs import missing_packages
from preftune.settings import TrainConfig
from preftune.settings.space import Point
from preftune.settings.sweep_config import SweepConfig
from preftune.sweep.analysis import Analysis
from preftune.sweep.folder import SweepFolder
from preftune.sweep.model_evaluation import ModelEvaluation, check_judge
from preftune.sweep.realign import Realigner
from preftune.sweep.result import SweepResult
from preftune.sweep.run_point import PointOutcome, PointRunner
from preftune.sweep.table import outcome_line
from preftune.sweep.trials import Trials, check_installed


def sharing_notes(points: Sequence[Point]) -> Iterator[str]:
    """Notes on which points share their reference log-probs, and why others do not.

    Args:
        points: All points of a grid, or examples of a search.
    """
    sharing = []
    whys: dict[str, list[str]] = {}
    for point in points:
        why = _why_not(point.config)
        if why is None:
            sharing.append(point)
        else:
            whys.setdefault(why, []).append(point.name)
    for why, names in whys.items():
        yield f"reference: not shared by {_some(names)}, {why}"
    references = {_reference(point.config) for point in sharing}
    if len(references) > 1:
        yield f"reference: points have {len(references)} different ones; the log-probs of each are computed once"
    elif sharing:
        yield "reference: the same for all points that cache its log-probs, so they are computed once"


def _why_not(config: TrainConfig) -> str | None:
    """The reason why a run shares no reference log-probs; None if it does."""
    return config.model.why_reference_is_not_cached(config.method)


def _reference(config: TrainConfig) -> tuple[object, ...]:
    """Settings that determine a reference's log-probs."""
    model = config.model
    name = model.reference_model or model.model
    return name, model.revision, model.weights_dtype, model.precision, model.attention


def _some(names: Sequence[str]) -> str:
    """A short list of names.

    >>> _some(["a", "b", "c", "d"])
    'a, b and 2 more'
    """
    return ", ".join(names) if len(names) < 4 else f"{names[0]}, {names[1]} and {len(names) - 2} more"


def sweep(config: SweepConfig, *, console: Console | None = None) -> SweepResult:
    """Run all points that are not finished, evaluate them and recommend one. The failure of a point does not end it.

    Returns:
        The result, also in `sweep.json`. `stopped` is true if a signal interrupted the sweep.
    Raises:
        PreftuneError: a user error that concerns all points.
    """
    return _Sweep(config, console or Console(quiet=True)).run()


@dataclass(slots=True)
class _Sweep:
    config: SweepConfig
    console: Console
    outcomes: list[PointOutcome] = field(default_factory=list)

    def run(self) -> SweepResult:
        _check_single_process()
        folder = SweepFolder(self.config.folder)
        with writing_into(folder.path, "preftune sweep"):
            return self._sweep(folder)

    def _sweep(self, folder: SweepFolder) -> SweepResult:
        folder.check(self.config)
        if self.config.space:
            check_installed()
        check_judge(self.config)
        realigner = Realigner(self.config, self.console)
        realigner.check()
        probes = self.config.probes()
        _check_packages(probes)
        folder.begin(self.config)
        notes = list(sharing_notes(probes))
        for note in notes:
            self._say(note)
        mixes: tuple[str, Sequence[ModelEvaluation]] | None = None
        stopped = False
        try:
            self._run_points()
            mixes = self._mixes(realigner)
        except KeyboardInterrupt:
            stopped = True
        result = Analysis(self.config, self._all_outcomes(), mixes).result(sharing=notes, stopped=stopped)
        result.write()
        return result

    def _run_points(self) -> None:
        if self.config.over:
            points = self.config.points()
            with self._progress(len(points)) as (progress, task):
                for point in points:
                    self._run(point)
                    progress.advance(task)
        else:
            self._search()

    def _search(self) -> None:
        """Run the proposed points, each with all its seeds."""
        total = self.config.settings.trials
        assert total is not None, "SweepSettings asks for it"
        method = str(self.config.base.get("method", "dpo"))
        trials = Trials(self.config.folder, self.config.space, method, self.config.settings.kl_budget)
        try:
            with self._progress(total) as (progress, task):
                for number, setup in trials.setups(total):
                    found = [self._run(point) for point in self.config.points_of([setup], f"trial={number:03d}")]
                    trials.tell(number, _mean(found))
                    progress.advance(task)
        finally:
            trials.close()

    def _run(self, point: Point) -> PointOutcome:
        outcome = PointRunner(self.config, self.console).run(point)
        self.outcomes.append(outcome)
        style = "red" if outcome.final is None else None
        self._say(outcome_line(outcome, self.config.value, self.config.bootstrap), style=style)
        return outcome

    def _all_outcomes(self) -> list[PointOutcome]:
        known = {outcome.point.name for outcome in self.outcomes}
        runner = PointRunner(self.config, self.console)
        return [*self.outcomes, *(runner.look(point) for point in self.config.points() if point.name not in known)]

    def _mixes(self, realigner: Realigner) -> tuple[str, Sequence[ModelEvaluation]] | None:
        """The mixes of the realigned run. A failure is shown and does not end the sweep."""
        try:
            return realigner.mixes(self.outcomes)
        except PreftuneError as error:
            self._say(f"realign: {error}", style="red")
            return None

    def _say(self, text: str, style: str | None = None) -> None:
        self.console.print(text, style=style, highlight=False, markup=False, soft_wrap=True)

    @contextmanager
    def _progress(self, total: int) -> Iterator[tuple[Progress, TaskID]]:
        columns = (TextColumn("points"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        shows = self.console.is_terminal and not self.console.quiet
        with Progress(*columns, console=self.console, transient=True, disable=not shows) as progress:
            yield progress, progress.add_task("points", total=total)


def _mean(outcomes: Sequence[PointOutcome]) -> tuple[float, float] | None:
    finals = [outcome.final for outcome in outcomes if outcome.final is not None and not outcome.record.is_sick]
    if not finals:
        return None
    values, kls = [item.value.mean for item in finals], [item.kl.mean for item in finals]
    return sum(values) / len(finals), sum(kls) / len(finals)


def _check_packages(probes: Sequence[Point]) -> None:
    """Refuse the sweep if any point needs a package that is not installed."""
    problems = dict.fromkeys(problem for point in probes for problem in missing_packages(point.config))
    if problems:
        raise ConfigError(list(problems))


def _check_single_process() -> None:
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError(
            [
                "a sweep runs its points in one process. Start it without a launcher; to use several GPUs, run "
                "`preftune train` for each point."
            ]
        )
