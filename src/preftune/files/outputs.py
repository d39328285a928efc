"""Places a command may write to, checked before any work is done, and files that are written together."""

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from preftune.errors import OutputError, SaveError

__all__ = ["WholeFile", "check_folder", "check_output", "saving"]


def check_output(option: str, path: Path, *, inputs: Iterable[str], overwrite: bool) -> None:
    """Make sure that the file may be written.

    Args:
        option: That names it, without dashes.
        path: The file.
        inputs: What the command reads, none of which may be written.
        overwrite: Whether it may be replaced.
    Raises:
        OutputError: it is one of the inputs or in one of them, is there already, or its folder cannot be written.
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
            f"{option} = {path}: is there already. Replace it with --overwrite, or name another file with {flag}."
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise OutputError(
            f"{option} = {path}: cannot be written ({error.strerror}). Name another file with {flag}."
        ) from None


def _holds(source: Path, path: Path) -> bool:
    """Whether a path is the source, in it, or another name of it."""
    place = path.resolve()
    return place == source or source in place.parents or (path.is_file() and path.samefile(source))


class WholeFile:
    """A text file that is written beside its place, and put there when it is complete.

    Args:
        path: Where it goes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        self.file: IO[str] = self._partial.open("w", encoding="utf-8")

    def finish(self) -> None:
        """See to it that all is on the disk."""
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()

    def put(self) -> None:
        """Put it in its place."""
        self._partial.replace(self.path)

    def discard(self) -> None:
        """Delete what is not in its place."""
        with suppress(OSError):  # closing a file on a full disk fails, too; what is wrong has been told
            self.file.close()
        self._partial.unlink(missing_ok=True)


@contextmanager
def saving(*paths: Path) -> Iterator[list[IO[str]]]:
    """Open files to write text into; they are put in their places together once all are complete, or none is.

    Raises:
        SaveError: the disk is full, for example.
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


def check_folder(path: Path, *, overwrite: bool, kind: str, holds_kind: Callable[[Path], bool]) -> None:
    """Make sure that `path` is a folder that may be written into; it is made if it is not there.

    Args:
        path: The folder.
        overwrite: Whether it may be replaced if it holds what the command writes.
        kind: What the command writes, for errors.
        holds_kind: Whether a folder holds that.
    Raises:
        OutputError: it is a file, cannot be written, or holds something that stays.
    """
    if path.exists() and not path.is_dir():
        raise OutputError(f"output = {path}: is a file. Name another folder with --output.")
    if path.is_dir() and any(path.iterdir()):
        if not holds_kind(path):
            raise OutputError(
                f"output = {path}: the folder holds files that are not of a {kind}, and they are not touched. "
                "Name another folder with --output."
            )
        if not overwrite:
            raise OutputError(
                f"output = {path}: the folder already holds a {kind}. Replace it with --overwrite, or name another "
                "folder with --output."
            )
    _check_writable(path)


def _check_writable(path: Path) -> None:
    probe = path / ".writable"
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        raise OutputError(
            f"output = {path}: cannot be written ({error.strerror}). Name another folder with --output."
        ) from None
