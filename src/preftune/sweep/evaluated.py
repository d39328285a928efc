"""What an evaluation of one model of a sweep found, and the file that keeps it."""

import json
from dataclasses import dataclass
from pathlib import Path

from preftune.evaluation.by_prompt import ByPrompt
from preftune.files.json_files import as_json, from_json
from preftune.files.whole_file import write_whole
from preftune.metrics.intervals import Bootstrap, Interval
from preftune.settings.sweep_sections import ValueKind

__all__ = ["Evaluated", "interval_of"]

_FILE = "sweep-evaluation.json"


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A model's value and its distance from the reference, prompt by prompt.

    Args:
        folder: Of the model: a run or one of its checkpoints.
        step: Optimizer steps that it was trained for.
        strength: Of the mix with the reference; 1 for the model itself.
        value: What it is worth.
        kl: KL to the reference of whole completions. Unit: nats.
        accuracy: On held-out pairs; None without.
        reference_value: What the reference is worth; None where nothing says so.
        is_complete: Whether nothing is missing, such as verdicts beyond a judge's budget.
    """

    folder: str
    step: int
    strength: float
    value: ByPrompt
    kl: ByPrompt
    accuracy: ByPrompt | None
    reference_value: float | None
    is_complete: bool

    def write(self, folder: Path) -> None:
        """Keep it in a folder.

        Raises:
            SaveError: it cannot be written.
        """
        write_whole(folder / _FILE, json.dumps(as_json(self)) + "\n")

    @staticmethod
    def read(folder: Path, *, newer_than: Path | None = None) -> "Evaluated | None":
        """What `write` kept; None where there is nothing that can be read.

        Args:
            folder: Where it is kept.
            newer_than: A file that says when the model was trained: what was kept before is of an earlier model.
        """
        try:
            made = (folder / _FILE).stat().st_mtime
            if newer_than is not None and newer_than.exists() and newer_than.stat().st_mtime > made:
                return None
            found: Evaluated = from_json(Evaluated, json.loads((folder / _FILE).read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return None
        return found


def interval_of(measured: ByPrompt, kind: ValueKind | None, bootstrap: Bootstrap) -> Interval:
    """The mean with its interval.

    Args:
        measured: By prompt.
        kind: What it is; None for a KL.
        bootstrap: How intervals are made.

    >>> measured = ByPrompt(("a", "b"), (1.0, 1.0), (1.0, 1.0))
    >>> str(interval_of(measured, "accuracy", Bootstrap(num_resamples=10)))  # 0.158 ** 2 = 0.025
    '1.000 [0.158, 1.000]'
    """
    is_share = kind in ("win_rate", "accuracy")
    make = bootstrap.share if is_share else bootstrap.interval
    return make(measured.statistic, len(measured.prompts))
