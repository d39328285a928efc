"""The place of a campaign: inputs that all trials share, results of undisturbed commands, and folders to work in."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp

import torch
from filelock import FileLock

from tests.runs.inputs import write_model

__all__ = ["Place", "rows_of", "write_lines"]


class Place:
    """A folder of inputs, of results that are made once, and of trials.

    Args:
        folder: Made and filled if it does not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.made: list[Path] = []
        """Working folders of this process."""
        self.inputs = self.once("inputs", _write_inputs)

    def once(self, name: str, make: Callable[[Path], None]) -> Path:
        """A folder that is made by the first trial that asks for it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        folder = self.folder / name
        with FileLock(self.folder / f"{name.replace('/', '-')}.lock"):
            if not folder.exists():
                new = self.folder / f"{name}.new"
                shutil.rmtree(new, ignore_errors=True)
                new.mkdir(parents=True)
                make(new)
                new.rename(folder)
        return folder

    def new(self) -> Path:
        """An empty folder."""
        (self.folder / "trials").mkdir(parents=True, exist_ok=True)
        made = Path(mkdtemp(dir=self.folder / "trials"))
        self.made.append(made)
        return made

    def copy(self, folder: Path) -> Path:
        """A copy of a folder that a trial may change."""
        new = self.new()
        shutil.copytree(folder, new, dirs_exist_ok=True, symlinks=True)
        return new


def _write_inputs(folder: Path) -> None:
    torch.manual_seed(0)
    write_model(folder / "model", num_hidden_layers=1)
    write_model(folder / "dropping", num_hidden_layers=1, attention_dropout=0.1)
    for feedback in ("pairs", "thumbs", "lists", "demonstrations"):
        write_lines(folder / f"{feedback}.jsonl", rows_of(feedback))


def write_lines(path: Path, rows: list[dict[str, object]]) -> None:
    """Write rows as JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def rows_of(feedback: str, count: int = 16) -> list[dict[str, object]]:
    """Sums, with feedback of a kind, of different lengths."""
    rows: list[dict[str, object]] = []
    for number in range(1, count + 1):
        prompt = f"What is {number}+{number}?"
        best, middling, worst = f" It is {2 * number}.", " Maybe." * (number % 3 + 1), f" {2 * number + 1}, or not."
        match feedback:
            case "pairs":
                rows.append({"prompt": prompt, "chosen": best, "rejected": worst, "margin": 2.0})
            case "thumbs":
                rows += [{"prompt": prompt, "completion": best, "label": True}]
                rows += [{"prompt": prompt, "completion": worst, "label": False}]
            case "lists":
                rows.append({"prompt": prompt, "completions": [worst, best, middling], "scores": [0.0, 2.0, 1.0]})
            case _:
                rows.append({"prompt": prompt, "completion": best})
    return rows
