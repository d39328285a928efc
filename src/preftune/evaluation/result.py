"""All that an evaluation found, as one record that JSON can hold."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from preftune.errors import DataError
from preftune.evaluation.best_of import BestOf
from preftune.evaluation.preferences import Preferences
from preftune.evaluation.samples import Samples
from preftune.evaluation.win_rate import WinRate
from preftune.files.json_files import as_json, from_json
from preftune.files.whole_file import write_whole

__all__ = ["EvaluationResult"]


@dataclass(frozen=True, slots=True)
class EvaluationResult:
    """What an evaluation found. The same settings on the same machine give the same record.

    Args:
        model: Hub id or folder of the policy.
        reference: What it was compared with; None for nothing.
        data: Where the preferences and prompts are from.
        confidence: How often an interval is to hold the true value.
        num_resamples: Times that the prompts were drawn anew for the intervals.
        seed: Of samples and intervals.
        preferences: On held-out preference data; None without.
        samples: What the policy writes, and how far it is from the reference; None if nothing was drawn.
        win_rates: What a judge said, temperature by temperature; empty without a judge.
        best_of: Best-of-N by the implicit reward; None if it was not asked for.
        strength: What was evaluated is the mix of reference (0) and model (1) at this strength; None: the model.
    """

    model: str
    reference: str | None
    data: tuple[str, ...]
    confidence: float
    num_resamples: int
    seed: int
    preferences: Preferences | None
    samples: Samples | None
    win_rates: tuple[WinRate, ...]
    best_of: BestOf | None
    strength: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """The result as JSON holds it; what is no number is null."""
        found: dict[str, Any] = as_json(self)
        return found

    @staticmethod
    def from_dict(values: dict[str, Any]) -> "EvaluationResult":
        """What `as_dict` gave.

        Raises:
            ValueError: it is of another shape.
        """
        found: EvaluationResult = from_json(EvaluationResult, values)
        return found

    def write(self, path: Path) -> None:
        """Write the result as JSON; a file that is there stays until the new one is whole.

        Raises:
            SaveError: it cannot be written.
        """
        write_whole(path, json.dumps(self.as_dict(), indent=2, ensure_ascii=False) + "\n")

    @staticmethod
    def read(path: str | Path) -> "EvaluationResult":
        """The result in a file.

        Raises:
            DataError: no such file, or one that holds something else.
        """
        try:
            return EvaluationResult.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise DataError(
                f"{path}: holds no result of `preftune eval` that can be read. {error}. Evaluate the model anew."
            ) from error
