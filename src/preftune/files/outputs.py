"""Places a command may write to: checked before any work is done, held by one writer at a time, written atomically."""

import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from filelock import FileLock, Timeout

from preftune.errors import OutputError, SaveError
from preftune.files.partial import is_partial, partial_path

_LOCK, _HOLDER = ".lock", ".lock.json"
_PROBE = ".writable"
_LOCK_FILES = frozenset({_LOCK, _HOLDER})
"""Files of the lock. A killed process leaves them behind; they hold nothing then."""


def check_output(option: str, path: Path, *, inputs: Iterable[str] = (), overwrite: bool) -> None:
    """Check that a file may be written. Its folder is made if it does not exist.

    Args:
        inputs: Files and folders that the command reads; none of them may be written.
    Raises:
        OutputError: The file is an input or inside of one, exists already, or cannot be written.
    """
    flag = f"--{option}"
    for source in inputs:
        given = Path(source).expanduser()
        if given.exists() and _holds(given.resolve(), path):
            raise OutputError(f"{option} = {path}: is read as data, and data are never changed. Name another file.")
    if path.is_dir():
        raise OutputError(f"{option} = {path}: is a folder. Name a file with {flag}.")
    if path.exists() and not overwrite:
        raise OutputError(
            f"{option} = {path}: exists already. Replace it with --overwrite, or name another file with {flag}."
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise OutputError(
            f"{option} = {path}: cannot be written ({error.strerror}). Name another file with {flag}."
        ) from None


def check_folder(path: Path, *, overwrite: bool, kind: str, holds_kind: Callable[[Path], bool]) -> None:
    """Check that a command may write into a folder. It is made if it does not exist.

    Args:
        overwrite: Replace an earlier result of the same kind.
        holds_kind: True for a folder that holds such a result.
    Raises:
        OutputError: The path is a file, cannot be written, or holds something that must stay.
    """
    if holds_earlier(path, kind, holds_kind) and not overwrite:
        raise OutputError(
            f"output = {path}: the folder already holds a {kind}. Replace it with --overwrite, or name another "
            "folder with --output."
        )
    check_writable(path)


def holds_earlier(path: Path, kind: str, holds_kind: Callable[[Path], bool]) -> bool:
    """True if a folder holds an earlier result of a kind; False if it is empty or does not exist.

    Raises:
        OutputError: The path is a file, or a folder with something else.
    """
    _check_no_file(path)
    if not path.is_dir() or all(map(is_leftover, path.iterdir())):
        return False
    if not holds_kind(path):
        raise OutputError(
            f"output = {path}: the folder holds files other than those of a {kind}, which are never overwritten. Name "
            "another folder with --output."
        )
    return True


def is_leftover(path: Path) -> bool:
    """True for a file that a killed process has left behind, and that holds nothing.

    >>> is_leftover(Path("run/.lock")), is_leftover(Path("run/config.yaml"))
    (True, False)
    """
    return path.name in (*_LOCK_FILES, _PROBE) or is_partial(path.name)


def _check_no_file(path: Path) -> None:
    if path.is_symlink() and not path.exists():
        raise OutputError(
            f"output = {path}: is a link to {path.readlink()}, which does not exist. Delete the link, or name another "
            "folder with --output."
        )
    if path.exists() and not path.is_dir():
        raise OutputError(f"output = {path}: is a file. Name another folder with --output.")


def check_writable(path: Path) -> None:
    """Make a folder if it does not exist, and check that files can be written into it.

    Raises:
        OutputError: They cannot.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise OutputError(
            f"output = {path}: cannot be written ({error.strerror}). Name another folder with --output."
        ) from None


def give_usual_mode(path: Path) -> None:
    """Give a file the mode of new files by the umask: some libraries write files that only the owner can read."""
    probe = path.with_name(f".{os.getpid()}.mode")
    probe.touch()
    path.chmod(probe.stat().st_mode)
    probe.unlink()


def _holds(source: Path, path: Path) -> bool:
    """True if a path is the source, inside of it, or another name of it."""
    place = Path(os.path.realpath(path))  # `resolve` raises RuntimeError for a link to itself
    return place == source or source in place.parents or (path.is_file() and path.samefile(source))


@contextmanager
def writing_into(folder: Path, use: str) -> Iterator[None]:
    """Hold a folder for writing. It is made if it does not exist, and then removed again if it stays empty.

    The operating system releases the lock when the process ends, however it ends.

    Args:
        use: The work of this process, such as `preftune train`, for the message to others.
    Raises:
        OutputError: another process writes into the folder, which is named, or nothing can be written into it.
    """
    is_new = not folder.exists()
    _check_no_file(folder)
    check_writable(folder)
    lock = FileLock(folder / _LOCK, timeout=0)
    try:
        _take(lock, folder, use)
        yield
    finally:
        if lock.is_locked:
            with suppress(OSError):
                (folder / _HOLDER).unlink(missing_ok=True)
                (folder / _LOCK).unlink(missing_ok=True)
            lock.release()
        if is_new:
            with suppress(OSError):  # not empty
                folder.rmdir()


def _take(lock: FileLock, folder: Path, use: str) -> None:
    """Acquire the lock and write down who holds it."""
    mine = {"use": use, "pid": os.getpid(), "host": platform.node(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
    try:
        lock.acquire()
        (folder / _HOLDER).write_text(json.dumps(mine), encoding="utf-8")
    except Timeout:
        raise OutputError(
            f"output = {folder}: {_holder(folder)} is writing into it. Wait until that ends, stop it, or name another "
            "folder with --output."
        ) from None
    except OSError as error:  # a full disk, for example
        raise OutputError(
            f"output = {folder}: cannot be written ({error.strerror}). Free some space, or name another folder with "
            "--output."
        ) from None


def empty_folder(folder: Path, *, last: Sequence[str] = ()) -> None:
    """Delete all files of a held folder except those of the lock.

    Args:
        last: Files that are deleted after all others, so that the folder is known for what it was when this is killed.
    """
    for inside in sorted(folder.iterdir(), key=lambda path: path.name in last):
        if inside.name in _LOCK_FILES:
            continue
        if inside.is_dir() and not inside.is_symlink():
            shutil.rmtree(inside)
        else:
            inside.unlink()


def _holder(folder: Path) -> str:
    try:
        found = json.loads((folder / _HOLDER).read_text(encoding="utf-8"))
        return f"{found['use']} (process {found['pid']} on {found['host']}, since {found['since']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


class WholeFile:
    """A text file that is written beside its place, and moved there when it is complete."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._partial = partial_path(path)
        self.file: IO[str] = self._partial.open("w", encoding="utf-8")

    def finish(self) -> None:
        """Flush all text to disk."""
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()

    def put(self) -> None:
        """Move the file to its place."""
        self._partial.replace(self.path)

    def discard(self) -> None:
        """Delete the file unless it is in its place."""
        with suppress(OSError):  # closing fails as well on a full disk; the first error has been reported
            self.file.close()
        self._partial.unlink(missing_ok=True)


@contextmanager
def saving(*paths: Path) -> Iterator[list[IO[str]]]:
    """Write text files atomically: all are moved to their places once all are complete, or none is.

    Raises:
        SaveError: A file cannot be written, for example on a full disk.
    """
    with ExitStack() as stack:
        try:
            files = []
            for path in paths:
                files.append(WholeFile(path))
                stack.callback(files[-1].discard)
            yield [file.file for file in files]
            for file in files:
                file.finish()
            for file in files:
                file.put()
        except OSError as error:
            names = ", ".join(map(str, paths))
            raise SaveError(f"{names}: could not be written ({error.strerror or error}). Free some space.") from error
