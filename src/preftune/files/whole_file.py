"""A file that is written as a whole or not at all."""

import os
from contextlib import suppress
from pathlib import Path

from preftune.errors import SaveError

__all__ = ["write_whole"]


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file beside its place, and put it there when it is complete; one that is there stays until then.

    Args:
        path: Where it goes. Its folder is made if it is not there.
        content: All of it; text is written as UTF-8.
    Raises:
        SaveError: it cannot be written, or the disk is full.
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
