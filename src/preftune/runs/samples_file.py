"""The file of a run that holds what its model wrote as it trained."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from preftune.files.whole_file import write_whole

__all__ = ["SamplesFile"]

_LINE_ENDS = {code: f"\\u{code:04x}" for code in (0x85, 0x2028, 0x2029)}


class SamplesFile:
    """`samples.jsonl`: a line for each time that samples were drawn, by the steps taken until then.

    Args:
        path: Of the file; it need not be there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def lines(self) -> Iterator[dict[str, Any]]:
        """What is in it. A line whose writing was cut short is left out."""
        if not self._path.is_file():
            return
        for text in self._path.read_text(encoding="utf-8").splitlines():
            try:
                yield json.loads(text)
            except ValueError:
                continue

    def line_of(self, step: int) -> dict[str, Any] | None:
        """What was drawn after so many steps, if anything was."""
        return next((line for line in self.lines() if line["step"] == step), None)

    def keep_until(self, step: int) -> None:
        """Drop what was drawn later: the run goes on from a checkpoint of `step`, and comes to these steps again."""
        lines = list(self.lines())
        kept = [line for line in lines if line["step"] <= step]
        if len(kept) < len(lines) or not self._ends_whole():
            write_whole(self._path, "".join(map(_text, kept)))

    def append(self, line: Mapping[str, Any]) -> None:
        """Add a line, unless there is one of this step already."""
        if self.line_of(line["step"]) is None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(_text(line))

    def _ends_whole(self) -> bool:
        return not self._path.is_file() or self._path.read_bytes()[-1:] in (b"", b"\n")


def _text(line: Mapping[str, Any]) -> str:
    """One line, also for readers that take other characters than line feeds for ends of lines, as Python does."""
    return json.dumps(line, ensure_ascii=False).translate(_LINE_ENDS) + "\n"
