"""Errors that no part of preftune expects: what the machine lacks, and bugs with their report file."""

import os
import platform
import re
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import platformdirs

from preftune.errors import first_line
from preftune.files.exhausted import Resource, exhausted
from preftune.files.run_files import is_run

BUG = 70
"""Exit code of a bug in preftune: EX_SOFTWARE of sysexits.h."""

_FOLDER_VARIABLE = "PREFTUNE_CACHE"
_PACKAGES = ("preftune", "torch", "transformers", "accelerate", "peft", "datasets", "tokenizers", "numpy", "rich-click")
_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)
_SECRET_TEXT = re.compile(r"(?<=://)[^/\s@]+(?=@)|\b(?:sk|hf|ghp|xox[bp])[-_][\w-]{8,}|(?<=Bearer )\S+")
_SHORTEST_SECRET = 8

_LACKS: Mapping[Resource, str] = {
    "disk": "the disk is full. Free some space",
    "memory": "there is not enough memory. Free some, lower the memory budget of the command, or use a smaller model",
    "files": "too many files are open. Raise the limit with `ulimit -n`",
}


def trouble_message(error: Exception, output: Path | None) -> str | None:
    """The message about an error that the machine has caused; None for other errors.

    Args:
        output: Folder that the command writes to, or None.
    """
    lack = exhausted(error)
    if lack is not None:
        return f"{_LACKS[lack]} ({redacted(first_line(error))}).{_how_to_go_on(output)}"
    if isinstance(error, PermissionError) and error.filename is not None:
        return f"{error.filename}: permission denied. Correct its permissions, or name another file or folder."
    return None


def bug_message(error: Exception, report: Path | None, output: Path | None) -> str:
    """The message about a bug.

    Args:
        report: File with the details; None if it could not be written.
        output: Folder that the command writes to, or None.
    """
    where = f"The details are in {report}." if report is not None else f"It was raised in {_place(error)}."
    line = redacted(first_line(error))
    return f"this is a bug in preftune: {line}. {where} Please report it with that file.{_how_to_go_on(output)}"


def _how_to_go_on(output: Path | None) -> str:
    if not _is_run(output):
        return ""
    return f" The run in {output} and its checkpoints are kept; continue it with --resume."


def write_bug_report(error: Exception, output: Path | None) -> Path | None:
    """Write traceback, command and versions into the run's folder, or into the cache folder, or a temporary one.

    Returns:
        The file, or None if none could be written.
    """
    name = f"bug-report-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
    text = redacted("".join(_report_parts(error)))
    for folder in _folders(output):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8", errors="backslashreplace")
        except OSError:
            continue
        return folder / name
    return None


def redacted(text: str) -> str:
    """The text without keys: values of environment variables named like one, and what looks like one.

    >>> redacted("GET https://user:pass@host/ with sk-abcdefgh1234")
    'GET https://***@host/ with ***'
    """
    named = {value for name, value in os.environ.items() if _SECRET_NAME.search(name)}
    for secret in sorted(named, key=len, reverse=True):
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, "***")
    return _SECRET_TEXT.sub("***", text)


def _is_run(output: Path | None) -> bool:
    try:
        return output is not None and is_run(output)
    except OSError:
        return False


def _folders(output: Path | None) -> Iterator[Path]:
    if output is not None and _is_run(output):
        yield output
    given = os.environ.get(_FOLDER_VARIABLE)
    yield Path(given).expanduser() if given else platformdirs.user_cache_path("preftune", appauthor=False)
    yield Path(tempfile.gettempdir())


def _report_parts(error: Exception) -> Iterator[str]:
    yield f"preftune {' '.join(sys.argv[1:])}\n\n"
    yield from traceback.format_exception(error)
    yield f"\nPython {platform.python_version()}, {platform.platform()}\n"
    for package in _PACKAGES:
        try:
            yield f"{package} {version(package)}\n"
        except PackageNotFoundError:
            yield f"{package} is not installed\n"


def _place(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "an unknown place"
