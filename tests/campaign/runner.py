"""The runner: trials of all kinds in turn, each in a process of its own, until the time is over, and the table."""

import contextlib
import json
import os
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random

from rich.console import Console
from rich.table import Table

from tests.campaign.place import Place
from tests.campaign.trial import FAILURES, RESULTS, Attempt, Kind, Result

__all__ = ["Campaign", "Tally"]

_LONGEST_SECONDS = 240.0
"""Until a trial is taken for one that hangs."""


@dataclass(slots=True)
class Tally:
    """The sums of a kind of trials."""

    trials: int = 0
    seconds: float = 0.0
    results: Counter[Result] = field(default_factory=Counter)

    @property
    def tried(self) -> int:
        """Number of attempts."""
        return self.results.total()


@dataclass(frozen=True, slots=True)
class _Running:
    kind: Kind
    number: int
    process: int
    answer: Path
    started: float


@dataclass(slots=True)
class Campaign:
    """A campaign.

    Args:
        kinds: Get their shares of the time.
        seed: Seed of all choices.
        folder: Inputs, results and working folders; those of failures stay.
        console: Shows failures as they come.
        jobs: Trials at a time.
    """

    kinds: Sequence[Kind]
    seed: int
    folder: Path
    console: Console
    jobs: int = 2
    tallies: dict[str, Tally] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def run(self, seconds: float) -> None:
        """Run trials for some seconds. Those that have begun are finished."""
        place = Place(self.folder)
        until = time.monotonic() + seconds
        running: list[_Running] = []
        self.tallies = {kind.name: Tally() for kind in self.kinds}
        # Short campaigns of different seeds begin with different subjects.
        begun = {kind.name: Random(f"{self.seed}/{kind.name}").randrange(1000) for kind in self.kinds}
        while running or time.monotonic() < until:
            while len(running) < self.jobs and time.monotonic() < until:
                kind = self._next(running)
                running.append(self._begin(place, kind, begun[kind.name]))
                begun[kind.name] += 1
            running = [trial for trial in running if not self._has_ended(trial)]
            time.sleep(0.01)

    def run_one(self, kind: Kind, number: int) -> None:
        """Run one trial."""
        self.tallies = {kind.name: Tally()}
        trial = self._begin(Place(self.folder), kind, number)
        while not self._has_ended(trial):
            time.sleep(0.01)

    def table(self) -> Table:
        """Attempts and results by kind."""
        table = Table(title=f"campaign of seed {self.seed}")
        table.add_column("kind")
        for title in ("trials", "tried", *RESULTS.values(), "time"):
            table.add_column(title, justify="right")
        for kind in self.kinds:
            if kind.name in self.tallies:
                tally = self.tallies[kind.name]
                counts = (tally.trials, tally.tried, *(tally.results[result] for result in RESULTS))
                table.add_row(kind.name, *(f"{count:,}" for count in counts), f"{tally.seconds:.0f} s")
        return table

    def _next(self, running: Sequence[_Running]) -> Kind:
        """The kind that had least of its share of the time so far."""
        now = time.monotonic()

        def used(kind: Kind) -> float:
            open_ = sum(1 + now - trial.started for trial in running if trial.kind is kind)
            return (self.tallies[kind.name].seconds + open_) / kind.share

        return min(self.kinds, key=used)

    def _begin(self, place: Place, kind: Kind, number: int) -> _Running:
        answers = self.folder / "answers"
        answers.mkdir(exist_ok=True)
        answer = answers / f"{kind.name}-{number}.jsonl"
        started = time.monotonic()
        process = os.fork()
        if not process:
            _become_trial(place, kind, number, Random(f"{self.seed}/{kind.name}/{number}"), answer)
        return _Running(kind, number, process, answer, started)

    def _has_ended(self, trial: _Running) -> bool:
        """True once a trial has ended; its results are in the tally then."""
        seconds = time.monotonic() - trial.started
        ended, status = os.waitpid(trial.process, os.WNOHANG)
        if not ended and seconds < _LONGEST_SECONDS:
            return False
        attempts = list(_answers(trial.answer))
        if not ended:
            with contextlib.suppress(ProcessLookupError):
                os.kill(trial.process, signal.SIGKILL)
            os.waitpid(trial.process, 0)
            attempts.append(Attempt("lost", f"did not end in {_LONGEST_SECONDS:.0f} s"))
        elif status:
            attempts.append(Attempt("traceback", f"the trial itself ended with {os.waitstatus_to_exitcode(status)}"))
        self._count(trial, attempts, seconds)
        return True

    def _count(self, trial: _Running, attempts: Sequence[Attempt], seconds: float) -> None:
        tally = self.tallies[trial.kind.name]
        tally.trials += 1
        tally.seconds += seconds
        for attempt in attempts:
            tally.results[attempt.result] += attempt.count
            if attempt.result in FAILURES:
                self._fail(trial, attempt)

    def _fail(self, trial: _Running, attempt: Attempt) -> None:
        again = f"make campaign SEED={self.seed} TRIAL={trial.kind.name}/{trial.number}"
        text = f"{RESULTS[attempt.result]}: {trial.kind.name}/{trial.number}: {attempt.text}\n    {again}"
        self.failures.append(text)
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)


def _become_trial(place: Place, kind: Kind, number: int, draw: Random, answer: Path) -> None:
    """Turn this process into a trial, which writes its attempts into a file and ends."""
    status = 1
    place.made.clear()
    try:
        with answer.open("w", encoding="utf-8") as file:
            failed = False
            for attempt in kind.trial(place, draw, number):
                file.write(json.dumps(asdict(attempt)) + "\n")
                file.flush()
                failed |= attempt.result in FAILURES
        if not failed:
            for folder in place.made:
                shutil.rmtree(folder, ignore_errors=True)
        status = 0
    except BaseException:
        with answer.open("a", encoding="utf-8") as file:
            attempt = Attempt("traceback", f"the trial itself: {traceback.format_exc()}")
            file.write(json.dumps(asdict(attempt)) + "\n")
        status = 0
    finally:
        sys.stdout.flush()
        os._exit(status)


def _answers(file: Path) -> Iterator[Attempt]:
    if file.exists():
        for line in file.read_text(encoding="utf-8").splitlines():
            yield Attempt(**json.loads(line))
