"""Hidden places where files are written before they are moved to their own; killed processes leave them behind."""

import hashlib
import os
import platform
import re
import shutil
from contextlib import suppress
from pathlib import Path

_PARTIAL = re.compile(r"\..+\.(?P<host>[^.]+)\.(?P<pid>\d+)\.partial", re.DOTALL)
_LONGEST_NAME = 120
"""Bytes of a name that leave room for the rest, within the 255 of common file systems."""


def partial_path(path: Path) -> Path:
    """A hidden place of this process beside a file or folder, to write it before it is moved there.

    Those of the same file that dead processes of this host have left behind are removed.
    """
    if path.parent.is_dir():
        for left in path.parent.iterdir():
            if left.name.startswith(_prefix(path)) and is_partial(left.name) and _is_dead(left.name):
                with suppress(OSError):
                    shutil.rmtree(left) if left.is_dir() else left.unlink()
    return path.with_name(f"{_prefix(path)}{os.getpid()}.partial")


def is_partial(name: str) -> bool:
    """True if a file has the name of a hidden place of this host or another one.

    >>> is_partial(".prefs.jsonl.node-1.4711.partial"), is_partial("prefs.jsonl")
    (True, False)
    """
    return _PARTIAL.fullmatch(name) is not None


def _prefix(path: Path) -> str:
    name = path.name
    if len(os.fsencode(name)) > _LONGEST_NAME:
        name = hashlib.blake2b(os.fsencode(name), digest_size=16).hexdigest()
    return f".{name}.{_host()}."


def _host() -> str:
    return re.sub(r"[^\w-]+", "-", platform.node())[:40] or "host"


def _is_dead(name: str) -> bool:
    """True if the process that a hidden place names is of this host and has ended."""
    found = _PARTIAL.fullmatch(name)
    if found is None or found["host"] != _host() or os.name != "posix":
        return False
    try:
        os.kill(int(found["pid"]), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except OSError:  # another user's
        return False
    return False
