"""Hostile endpoints: a judge that misbehaves gives a message, and its key is nowhere."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random
from unittest.mock import patch

from tests.campaign.commands import Work, named, start
from tests.campaign.differences import differences
from tests.campaign.endpoint import ANSWERS, KEY, MISDEEDS, serving
from tests.campaign.forked import run_forked
from tests.campaign.kills import prepared, unbroken
from tests.campaign.place import Place
from tests.campaign.trial import Attempt, Kind

__all__ = ["ENDPOINTS"]

_SECOND_KEY = "hunter2-9c1d5e7f"
"""A key in the address."""


def _impatient(work: Work, arguments: list[str]) -> int:
    """Do a work with a client that waits for milliseconds before it asks again."""
    for name in ("openai._base_client.INITIAL_RETRY_DELAY", "openai._base_client.MAX_RETRY_DELAY"):
        patch(name, 0.01).start()
    patch("preftune.judges.endpoint._PAUSE_SECONDS", 0.01).start()
    return start(work, arguments)


def _endpoint(place: Place, draw: Random, number: int) -> Iterator[Attempt]:
    work = named("eval, endpoint judge")
    expected = unbroken(place, work)
    folder = prepared(place, work)
    first = MISDEEDS[number % len(MISDEEDS)]
    misdeeds = (first, *draw.sample(MISDEEDS, draw.choice([0, 0, 1, 3])))
    share = draw.choice([0.3, 1.0])
    in_address = draw.random() < 0.5
    arguments = [*work.arguments(place.inputs), "--judge-timeout", "0.3"]
    about = f"{', '.join(misdeeds)} for {share:.0%}{', a key in the address' if in_address else ''}"
    environment = {"PREFTUNE_CACHE": str(folder / "cache"), "COLUMNS": "200"}
    with serving(misdeeds, share=share) as address:
        if in_address:
            address["OPENAI_BASE_URL"] = address["OPENAI_BASE_URL"].replace("//", f"//user:{_SECOND_KEY}@")
        ended = run_forked(partial(_impatient, work, arguments), folder, environment={**environment, **address})
    if leaks := sorted(_leaks(folder, ended.text)):
        yield Attempt("silent", f"{about}: a key is in {', '.join(leaks)}")
    elif ended.timed_out:
        yield Attempt("lost", f"{about}: does not end")
    elif ended.has_traceback:
        yield Attempt("traceback", f"{about}: exit {ended.code}: {ended.last_lines}")
    elif ANSWERS.isdisjoint(misdeeds) and (found := _after(place, work, folder, expected.folder)):
        yield Attempt("silent", f"{about}, then a good endpoint: {found}")
    else:
        yield Attempt("message" if ended.code else "held", about)


def _after(place: Place, work: Work, folder: Path, expected: Path) -> str:
    """The first differences to the undisturbed evaluation, once the endpoint is good again."""
    with serving() as address:
        environment = {"PREFTUNE_CACHE": str(folder / "cache"), "COLUMNS": "200", **address}
        ended = run_forked(partial(start, work, work.arguments(place.inputs)), folder, environment=environment)
    if ended.code:
        return f"exit {ended.code}: {ended.last_lines}"
    return "; ".join(differences(expected, folder)[:3])


def _leaks(folder: Path, text: str) -> Iterator[str]:
    """Names of the places that hold a key."""
    keys = (KEY, _SECOND_KEY)
    if any(key in text for key in keys):
        yield "the output"
    for file in folder.rglob("*"):
        if file.is_file() and any(key.encode() in file.read_bytes() for key in keys):
            yield file.relative_to(folder).as_posix()


ENDPOINTS = Kind("endpoints", "endpoints", _endpoint, share=0.7)
