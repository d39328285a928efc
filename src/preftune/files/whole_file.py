"""Atomic writes of files."""

import os
from contextlib import suppress
from pathlib import Path

from preftune.errors import SaveError

__all__ = ["write_whole"]


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file atomically: beside its path first, then moved into place. An existing file stays until then.

    Args:
        content: Text is written as UTF-8.
    Raises:
        SaveError: the file cannot be written, or the disk is full.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise SaveError(f"{path}: could not be written ({error.strerror or error}). Free some space.") from error
