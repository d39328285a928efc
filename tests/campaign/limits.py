"""Scarce resources: a full disk, a read-only folder, few open files, little memory. Then the same without the limit."""

import ctypes
import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from random import Random

from tests.campaign.commands import Work, named
from tests.campaign.differences import differences
from tests.campaign.forked import Ended
from tests.campaign.kills import Unbroken, attempt, prepared, unbroken
from tests.campaign.place import Place
from tests.campaign.trial import Attempt, Kind

__all__ = ["LIMITS"]

_WORKS = ("dpo", "samples and report", "tensorboard", "lora dropout", "convert", "clean", "merge", "sweep", "report")
_GONE_WITHOUT = ("samples: none are drawn", "report: not written")
"""Told by a run that ends well without samples or its report."""
_FAILED_POINT = ": failed: "
"""Told by a sweep that goes on without a point, and tries it again in the next call."""
_NEW_NAMESPACE = 0x00020000
"""CLONE_NEWNS: mounts of this process are its own, and end with it."""
_DISK_KIB = 64_000


@cache
def _may_mount() -> bool:
    """True if this process may have mounts of its own."""
    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() != 0 or libc.unshare(_NEW_NAMESPACE) != 0:
        return False
    return _mount("--make-rprivate", "/")


def _mount(*arguments: str) -> bool:
    return subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode == 0


@dataclass(frozen=True, slots=True)
class Limit:
    """One kind of scarcity.

    Args:
        given: The disk's size in KiB and soft limits of a process, drawn for a work.
        may_abort: Libraries in C++ and Rust may end the process.
    """

    name: str
    given: Callable[[Random, Unbroken], tuple[int | None, dict[int, int]]]
    may_abort: bool = False


def _size_kib(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) // 1024 + 1


LIMITED = (
    Limit("a full disk", lambda draw, expected: (draw.randint(1, max(8, _size_kib(expected.folder))), {})),
    Limit("small files", lambda draw, _: (None, {resource.RLIMIT_FSIZE: int(2 ** draw.uniform(13, 17))})),
    Limit("a read-only disk", lambda _draw, _expected: (0, {})),
    Limit("few open files", lambda draw, _: (None, {resource.RLIMIT_NOFILE: draw.randint(8, 40)})),
    Limit("little memory", lambda draw, _: (None, {resource.RLIMIT_AS: draw.randint(1, 120) << 20}), may_abort=True),
)


def _limit(place: Place, draw: Random, number: int) -> Iterator[Attempt]:
    limit = LIMITED[number % len(LIMITED)]
    work = named(_WORKS[(number // len(LIMITED)) % len(_WORKS)])
    expected = unbroken(place, work)
    kib, limits = limit.given(draw, expected)
    if kib is not None and not _may_mount():
        return
    arguments = work.arguments(place.inputs)
    about = f"{work.name}, {limit.name} ({kib} KiB, {limits})"
    with _disk(prepared(place, work), kib) as (folder, enlarge):
        ended = attempt(place, work, folder, arguments, limits=limits)
        aborted = limit.may_abort and ended.code < 0 and not ended.timed_out
        if ended.timed_out:
            yield Attempt("lost", f"{about}: does not end")
        elif ended.has_traceback and not aborted:
            yield Attempt("traceback", f"{about}: exit {ended.code}: {ended.last_lines}")
        else:
            enlarge()
            goes_without = not ended.code and any(text in ended.text for text in _GONE_WITHOUT)
            has_failed = bool(ended.code) or _FAILED_POINT in ended.text
            again = _again(place, work, folder) if has_failed else ended
            if goes_without and not again.code:
                yield Attempt("message", about)
            else:
                yield _judged(about, "message" if has_failed else "held", again, expected.folder, folder)


def _again(place: Place, work: Work, folder: Path) -> Ended:
    """The end of a work that is called again without limits."""
    arguments = work.arguments(place.inputs)
    ended = attempt(place, work, folder, [*arguments, *work.again])
    if ended.code == 2 and work.again and work.afresh in ended.text:
        return attempt(place, work, folder, arguments)
    return ended


def _judged(about: str, result: str, ended: Ended, expected: Path, folder: Path) -> Attempt:
    if ended.code:
        return Attempt("lost", f"{about}, and then without: exit {ended.code}: {ended.last_lines}")
    if found := differences(expected, folder):
        return Attempt("silent", f"{about}, and then without: {'; '.join(found[:4])} ({len(found)} differences)")
    return Attempt("message" if result == "message" else "held", about)


@contextmanager
def _disk(folder: Path, kib: int | None) -> Iterator[tuple[Path, Callable[[], object]]]:
    """A folder on a disk of its own with this much space left; 0: read-only, None: the folder itself.

    Yields the folder, and a function that makes room.
    """
    if kib is None:
        yield folder, lambda: None
        return
    disk = folder.with_name(f"{folder.name}-disk")
    disk.mkdir()
    held = _size_kib(folder)
    _mount("-t", "tmpfs", "-o", f"size={_DISK_KIB}k", "tmpfs", str(disk))
    subprocess.run(["cp", "-a", f"{folder}/.", str(disk)], check=True)
    _mount("-o", "remount,ro" if kib == 0 else f"remount,size={held + kib}k", str(disk))
    try:
        yield disk, partial(_mount, "-o", f"remount,rw,size={_DISK_KIB}k", str(disk))
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False, capture_output=True)


LIMITS = Kind("limits", "limits", _limit)
