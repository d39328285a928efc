"""Files of JSON in a run folder."""

import json
from pathlib import Path
from typing import Any

from preftune.errors import DataError

__all__ = ["read_json_lines", "read_json_object"]


def read_json_object(path: Path, *, made_by: str) -> dict[str, Any] | None:
    """The object in a file; None where there is no file.

    Args:
        path: The file.
        made_by: The command that writes it, for the error.
    Raises:
        DataError: the file is damaged, or holds something else.
    """
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: is damaged. {error}. Delete it, or make it anew with {made_by}.") from None
    if not isinstance(found, dict):
        raise DataError(f"{path}: must hold an object. Delete it, or make it anew with {made_by}.")
    return found


def read_json_lines(path: Path) -> tuple[dict[str, Any], ...]:
    """The objects in a file with one a line; none where there is no file. A last line that was cut short is left out.

    Raises:
        DataError: the file is damaged.
    """
    if not path.is_file():
        return ()
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    found = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            item = json.loads(line)
            if not isinstance(item, dict) or not isinstance(item.get("step"), int):
                raise ValueError("it must be an object with a step")
        except ValueError as error:
            if number == len(lines):  # a whole line ends in a line break
                break
            raise DataError(f"{path}:{number}: is damaged. {error}. Delete this line.") from None
        found.append(item)
    return tuple(found)
