"""Runs of two ranks: random delays of both change nothing, and a killed rank ends the other one with a message."""

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random

from tests.campaign.commands import Work, named, run, start
from tests.campaign.differences import differences
from tests.campaign.place import Place
from tests.campaign.trial import Attempt, Kind
from tests.forked_ranks import At, Delay, RanksEnd, points_of, run_ranks

__all__ = ["DELAYED_RANKS", "KILLED_RANKS", "RUNS", "differing", "undisturbed"]

_MOST_DELAYS = 4
_LONGEST_DELAY = 1.0
_MOST_SECONDS_ALONE = 60.0
"""Within which the other rank ends."""
_LOST = "Error: another process of the run has ended or cannot be reached"


@dataclass(frozen=True, slots=True)
class _Run:
    """A run of two ranks, under DDP or FSDP2."""

    work: Work
    is_sharded: bool = False

    @property
    def name(self) -> str:
        """Unique, and fit for a folder."""
        return f"{self.work.name}, {'FSDP2' if self.is_sharded else 'DDP'}"

    def call(self, place: Place, folder: Path, *more: str, **how: object) -> RanksEnd:
        """Run it in a folder, with further arguments."""
        arguments = [*self.work.arguments(place.inputs), *more]
        return run_ranks(partial(start, self.work, arguments), folder, is_sharded=self.is_sharded, **how)  # type: ignore[arg-type]


_LORA = Work("lora", run(lora=True, lora_rank=4))
RUNS = (
    *(_Run(named(name)) for name in ("dpo", "kto", "early stopping", "evaluated often", "beta dpo", "lora dropout")),
    _Run(_LORA),
    *(_Run(work, is_sharded=True) for work in (named("dpo"), named("kto"), _LORA, named("bco"))),
)


def undisturbed(place: Place, subject: _Run) -> tuple[Path, RanksEnd]:
    """The result of a run that nothing disturbs, and the operations of its ranks on files."""
    folder = place.once(f"ranks/{subject.name}", partial(_make, place, subject))
    measured = json.loads((folder / "measured.json").read_text(encoding="utf-8"))
    points = tuple(map(tuple, measured["points"]))
    return folder / "work", RanksEnd((0, 0), ("", ""), points, measured["seconds"], 0.0)


def _make(place: Place, subject: _Run, folder: Path) -> None:
    working = place.new()
    end = subject.call(place, working)
    if end.codes != (0, 0):
        raise RuntimeError(f"{subject.name} does not end well undisturbed: {end}")
    shutil.move(working, folder / "work")
    measured = {"seconds": end.seconds, "points": end.points}
    (folder / "measured.json").write_text(json.dumps(measured), encoding="utf-8")


def _delay(place: Place, draw: Random, number: int) -> Iterator[Attempt]:
    subject = RUNS[number % len(RUNS)]
    expected, usual = undisturbed(place, subject)
    delays = [_random_delay(draw, usual) for _ in range(draw.randint(1, _MOST_DELAYS))]
    folder = place.new()
    end = subject.call(place, folder, acts=delays)
    yield _judged(f"{subject.name}, delayed at {'; '.join(map(_text, delays))}", subject, end, expected, folder)


def _random_delay(draw: Random, usual: RanksEnd) -> Delay:
    """A delay of either rank, at any point as likely as at any other."""
    ranks: dict[int, list[str]] = {0: [], 1: []}
    for rank, point in points_of(usual):
        ranks[rank].append(point)
    rank = draw.randrange(2)
    point = draw.choice(ranks[rank])
    return Delay(At(rank, point, draw.randrange(usual.points[rank].count(point))), draw.uniform(0.05, _LONGEST_DELAY))


def _text(delay: Delay) -> str:
    return f"rank {delay.at.rank}, {delay.at.point} ({delay.at.call}), {delay.seconds:.2f} s"


def _kill(place: Place, draw: Random, number: int) -> Iterator[Attempt]:
    subject = RUNS[number % len(RUNS)]
    expected, usual = undisturbed(place, subject)
    rank, seconds = draw.randrange(2), draw.uniform(0.0, usual.seconds)
    folder = place.new()
    end = subject.call(place, folder, kill_after=(rank, seconds))
    about = f"{subject.name}, rank {rank} killed after {seconds:.2f} s"
    problem = _problem_of_other(end, rank)
    if problem is not None:
        yield Attempt("lost", f"{about}: {problem}: {end}")
        return
    again = subject.call(place, folder, "--resume")
    if 2 in again.codes and subject.work.afresh in again.texts[0]:
        again = subject.call(place, folder)
    yield _judged(f"{about}, resumed", subject, again, expected, folder)


def _problem_of_other(end: RanksEnd, killed: int) -> str | None:
    """The way in which the rank that was not killed ended wrongly; None if it ended as it must."""
    code, text = end.codes[1 - killed], end.texts[1 - killed]
    if code is None:
        return "the other rank did not end"
    if code == 0:  # it was done
        return None
    if code != 1 or "Traceback" in text or text.count("Error: ") != 1 or _LOST not in text:
        return "the other rank did not end with its one message"
    if end.seconds_between > _MOST_SECONDS_ALONE:
        return f"the other rank ended {end.seconds_between:.0f} s later"
    return None


def _judged(about: str, subject: _Run, end: RanksEnd, expected: Path, folder: Path) -> Attempt:
    if any("Traceback" in text for text in end.texts):
        return Attempt("traceback", f"{about}: {end}")
    if end.codes != (0, 0):
        return Attempt("lost", f"{about}: {end}")
    found = differing(subject, expected, folder)
    if found:
        return Attempt("silent", f"{about}: {'; '.join(found[:4])} ({len(found)} differences)")
    return Attempt("held", about)


def differing(subject: _Run, expected: Path, folder: Path) -> Sequence[str]:
    """Differences of the results; with FSDP2 of the models, as its checkpoints hold addresses."""
    return differences(expected, folder, only_weights=subject.is_sharded)


DELAYED_RANKS = Kind("delayed-ranks", "runs", _delay)
KILLED_RANKS = Kind("killed-ranks", "kills", _kill)
