"""Kills by signal 9 at random moments: the command is called again until it ends, and must give the same result."""

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random

from tests.campaign.commands import LOOKS, RUNS, Work, start
from tests.campaign.differences import differences
from tests.campaign.endpoint import serving
from tests.campaign.forked import Ended, Moment, run_forked
from tests.campaign.place import Place
from tests.campaign.trial import Attempt, Kind

__all__ = ["KILLS", "Unbroken", "attempt", "prepared", "unbroken"]

_MOST_KILLS = 5
_WORKS = tuple(work for index, look in enumerate(LOOKS) for work in (*RUNS[3 * index : 3 * index + 3], look))
"""All works, runs and others in turn."""


@dataclass(frozen=True, slots=True)
class Unbroken:
    """The result of a command that nothing disturbed.

    Args:
        folder: Its working folder after the end.
        seconds: Duration.
        changes: Changes of the file system.
    """

    folder: Path
    seconds: float
    changes: int


def unbroken(place: Place, work: Work) -> Unbroken:
    """The undisturbed result of a work, made by the first trial that asks for it.

    Raises:
        RuntimeError: it does not end well.
    """
    folder = place.once(f"unbroken/{work.name}", partial(_make_unbroken, place, work))
    measured = json.loads((folder / "measured.json").read_text(encoding="utf-8"))
    return Unbroken(folder / "work", **measured)


def prepared(place: Place, work: Work) -> Path:
    """A new working folder, with what the work reads."""
    if not work.given:
        return place.new()
    return place.copy(place.once(f"prepared/{work.name}", partial(_prepare, place, work)))


def attempt(
    place: Place,
    work: Work,
    folder: Path,
    arguments: Sequence[str],
    *,
    moment: Moment | None = None,
    limits: dict[int, int] | None = None,
    at_most: float = 60.0,
) -> Ended:
    """Call a work once in a process that may be killed or limited. Caches are those of the folder."""
    environment = {"PREFTUNE_CACHE": str(folder / "cache"), "COLUMNS": "200"}
    with ExitStack() as stack:
        if work.judged:
            environment |= stack.enter_context(serving())
        call = partial(start, work, arguments)
        return run_forked(call, folder, moment=moment, limits=limits, environment=environment, at_most=at_most)


def _prepare(place: Place, work: Work, folder: Path) -> None:
    for given in work.given:
        ended = attempt(place, RUNS[0], folder, given(place.inputs))
        if ended.code:
            raise RuntimeError(f"{work.name} cannot be prepared: {ended.last_lines}")


def _make_unbroken(place: Place, work: Work, folder: Path) -> None:
    working = prepared(place, work)
    ended = attempt(place, work, working, work.arguments(place.inputs))
    if ended.code:
        raise RuntimeError(f"{work.name} ends with {ended.code} undisturbed: {ended.last_lines}")
    shutil.move(working, folder / "work")
    measured = {"seconds": ended.seconds, "changes": ended.changes}
    (folder / "measured.json").write_text(json.dumps(measured), encoding="utf-8")


def _kill(place: Place, draw: Random, number: int) -> Iterator[Attempt]:
    work = _WORKS[number % len(_WORKS)]
    expected = unbroken(place, work)
    folder = prepared(place, work)
    arguments = work.arguments(place.inputs)
    calls, kills = arguments, list[str]()
    wanted = draw.randint(1, _MOST_KILLS)
    while True:
        moment = _moment(draw, expected) if len(kills) < wanted else None
        ended = attempt(place, work, folder, calls, moment=moment)
        about = f"{work.name}, killed at {', '.join(kills) or 'no moment'}"
        if ended.is_killed:
            kills.append(str(moment))
            calls = [*arguments, *work.again]
            continue
        if ended.code == 2 and calls != arguments and work.afresh in ended.text:
            calls = arguments
            continue
        break
    count = max(len(kills), 1)
    if ended.timed_out:
        yield Attempt("lost", f"{about}: does not end", count)
    elif ended.has_traceback:
        yield Attempt("traceback", f"{about}: exit {ended.code}: {ended.last_lines}", count)
    elif ended.code:
        yield Attempt("lost", f"{about}: exit {ended.code}: {ended.last_lines}", count)
    elif found := differences(expected.folder, folder):
        yield Attempt("silent", f"{about}: {'; '.join(found[:4])} ({len(found)} differences)", count)
    else:
        yield Attempt("held", about, count)


def _moment(draw: Random, expected: Unbroken) -> Moment:
    """A change of the file system, or a time that is as likely anywhere in the undisturbed duration."""
    if draw.random() < 0.5:
        return Moment(change=draw.randint(1, max(expected.changes, 1)))
    return Moment(seconds=draw.uniform(0, expected.seconds))


KILLS = Kind("kills", "kills", _kill, share=3)
