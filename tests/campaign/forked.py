"""Commands in forked processes: killed at a moment, limited, and read afterwards."""

import contextlib
import faulthandler
import os
import re
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

__all__ = ["CRASHED", "Ended", "Moment", "run_forked"]

CRASHED = 70
"""Exit status of a process that an exception ended."""
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.truncate", "os.link", "os.symlink"}


@dataclass(frozen=True, slots=True)
class Moment:
    """The moment of a kill: the n-th change of the file system, or a number of seconds after the start.

    Args:
        change: Counted from 1. Files that are opened for writing, moved or removed, and folders that are made.
        seconds: After the start.
    """

    change: int | None = None
    seconds: float | None = None

    def __str__(self) -> str:
        return f"change {self.change}" if self.change is not None else f"{self.seconds:.3f} s"


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a forked process.

    Args:
        code: Exit status; the negative number of a signal that ended it.
        text: Standard output and error.
        seconds: Duration.
        changes: Changes of the file system inside its folder.
        timed_out: True if it did not end within the limit.
    """

    code: int
    text: str
    seconds: float
    changes: int
    timed_out: bool = False

    @property
    def is_killed(self) -> bool:
        """True if SIGKILL came before the end."""
        return self.code == -signal.SIGKILL and not self.timed_out

    @property
    def has_traceback(self) -> bool:
        """True if anything but an end of its own ended it, or a bug was reported."""
        return self.code not in (0, 1, 2, 3, 130) or "Traceback (most recent call last)" in self.text or self.is_mute

    @property
    def is_mute(self) -> bool:
        """True if it failed without an error message, such as with the bare word `Aborted.`."""
        return self.code in (1, 2) and "error" not in self.text.lower()

    @property
    def last_lines(self) -> str:
        """The end of what it wrote."""
        text = re.sub(r"\x1b\[[0-9;]*m", "", self.text)
        return " | ".join(line.strip()[:160] for line in text.splitlines() if line.strip())[-400:]


def run_forked(
    work: Callable[[], int | None],
    folder: Path,
    *,
    moment: Moment | None = None,
    limits: dict[int, int] | None = None,
    environment: dict[str, str] | None = None,
    at_most: float = 60.0,
) -> Ended:
    """Run `work` in a forked process, in `folder`.

    Args:
        moment: When to kill it.
        limits: Soft limits by the numbers of `resource`; of memory, beyond what the process has.
        environment: More environment variables.
        at_most: Seconds until it is taken for one that hangs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder.with_name(f"{folder.name}.log")
    counter = folder.with_name(f"{folder.name}.changes")
    started = time.monotonic()
    child = os.fork()
    if not child:
        _become(work, folder, log, counter, moment, limits or {}, environment or {})
    kill_at = started + (moment.seconds if moment is not None and moment.seconds is not None else at_most)
    code = _wait(child, kill_at)
    timed_out = code is None and (moment is None or moment.seconds is None)
    if code is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    changes = int(counter.read_text() or 0) if counter.exists() else 0
    return Ended(code, text, time.monotonic() - started, changes, timed_out=timed_out)


def _wait(child: int, until: float) -> int | None:
    """The exit status of a child, or None if it still runs at a time."""
    pause = 0.001
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        left = until - time.monotonic()
        if left <= 0:
            return None
        time.sleep(min(pause, left))
        pause = min(2 * pause, 0.02)


def _become(
    work: Callable[[], int | None],
    folder: Path,
    log: Path,
    counter: Path,
    moment: Moment | None,
    limits: dict[int, int],
    environment: dict[str, str],
) -> NoReturn:
    """Turn this process into one that does the work."""
    code = CRASHED
    try:
        os.setpgid(0, 0)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(output, stream)
        sys.stdout, sys.stderr = (open(number, "w", buffering=1, closefd=False) for number in (1, 2))  # noqa: SIM115
        faulthandler.enable()
        os.environ.update(environment)
        os.chdir(folder)
        changes = _Changes(folder, moment.change if moment is not None else None)
        sys.addaudithook(changes)
        for number, limit in limits.items():
            soft = limit + _address_space() if number == resource.RLIMIT_AS else limit
            resource.setrlimit(number, (soft, resource.getrlimit(number)[1]))
        code = work() or 0
        with contextlib.suppress(OSError):  # under the limits of the work
            counter.write_text(str(changes.count))
    except SystemExit as exit_:
        code = exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _address_space() -> int:
    """Bytes of this process's address space."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


class _Changes:
    """An audit hook that counts the changes inside a folder, and kills its process before one of them."""

    def __init__(self, folder: Path, last: int | None) -> None:
        self.count = 0
        self._folder = str(folder)
        self._last = last

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if not (isinstance(flags, int) and flags & _WRITES):
                return
        elif event in _CHANGES:
            path = arguments[0]
        else:
            return
        if not isinstance(path, str | os.PathLike | bytes):
            return
        if not os.path.abspath(os.fsdecode(path)).startswith(self._folder):  # noqa: PTH100
            return
        self.count += 1
        if self.count == self._last:
            os.kill(os.getpid(), signal.SIGKILL)
