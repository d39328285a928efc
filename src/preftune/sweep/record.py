"""What became of a point's run: the file beside the run folders that says so."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from preftune.files.json_files import as_json, from_json
from preftune.files.whole_file import write_whole

__all__ = ["PointRecord", "Status"]

Status = Literal["open", "trained", "failed", "sick"]
"""open: not at its end yet. trained: at its end. failed: ended by an error, and tried again by the next call. sick:
ended by a rule on its health, which it would meet again."""


@dataclass(frozen=True, slots=True)
class PointRecord:
    """A run of a sweep, over all calls that worked on it.

    Args:
        status: What became of it.
        error: What ended it, if anything.
        num_steps: Optimizer steps taken.
        model_step: Those of the checkpoint that became its model.
        seconds: Time that training took, the last time.
        num_computed: Reference log-probs that were computed for it, those of its evaluation included.
        num_kept: Reference log-probs that were there already when it was trained last.
        health: What rules on its health found, as severity and title.
    """

    status: Status = "open"
    error: str | None = None
    num_steps: int = 0
    model_step: int = 0
    seconds: float = 0.0
    num_computed: int = 0
    num_kept: int = 0
    health: tuple[tuple[str, str], ...] = ()

    @property
    def is_sick(self) -> bool:
        """Whether its health says that what came out is no good."""
        return self.status == "sick" or any(severity != "suspect" for severity, _ in self.health)

    def failed(self, error: str) -> "PointRecord":
        """The same with what ended it."""
        return replace(self, status="failed", error=error)

    def write(self, path: Path) -> None:
        """Keep it.

        Raises:
            SaveError: it cannot be written.
        """
        write_whole(path, json.dumps(as_json(self), indent=2) + "\n")

    @staticmethod
    def read(path: Path) -> "PointRecord":
        """What `write` kept; an open one where there is nothing that can be read."""
        try:
            found: PointRecord = from_json(PointRecord, json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return PointRecord()
        return found
