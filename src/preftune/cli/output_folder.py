"""Folders that a command may write into."""

from collections.abc import Callable
from pathlib import Path

from preftune.errors import OutputError

__all__ = ["check_folder"]


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
