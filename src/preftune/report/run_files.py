"""Where everything of a run is."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["RunFile", "files_of"]

_ABOUT = {
    "adapter_config.json": "the adapter's settings",
    "adapter_model.safetensors": "the tuned adapter",
    "chat_template.jinja": "how conversations become text",
    "config.json": "the model's settings",
    "config.yaml": "all settings of the run; repeats it",
    "data-check.json": "what is wrong with the data",
    "evaluation.json": "the result of preftune eval",
    "generation_config.json": "how the model samples by itself",
    "health.json": "what rules on the run's health found",
    "metrics.jsonl": "every metric, a line per logged step and evaluation",
    "model.safetensors": "the tuned model",
    "plots": "the curves as SVG and PNG files",
    "report.html": "this page",
    "run.json": "versions, git state, command",
    "runs": "for TensorBoard",
    "samples.jsonl": "what the model wrote, evaluation by evaluation",
    "summary.json": "first, last and best of each metric, time, memory, data",
    "tokenizer.json": "the tokenizer",
    "tokenizer_config.json": "its settings",
    "training_args.bin": "arguments of the trainer",
}
_BY_START = (
    ("checkpoint-", "to resume from, or to evaluate"),
    ("model-", "a part of the tuned model"),
    ("evaluation-strength-", "the result of preftune eval --strength"),
)


@dataclass(frozen=True, slots=True)
class RunFile:
    """A file or folder of a run.

    Args:
        name: In the run's folder; folders end with a slash.
        num_bytes: Its size; of a folder that of all in it.
        about: What it is; empty for what is not the run's own.
    """

    name: str
    num_bytes: int
    about: str


def files_of(folder: Path) -> Iterator[RunFile]:
    """What lies in the folder, by name; hidden files are left out."""
    for path in sorted(folder.iterdir(), key=lambda path: (path.is_dir(), path.name)):
        if not path.name.startswith("."):
            yield RunFile(path.name + "/" * path.is_dir(), _size(path), _about(path.name))


def _size(path: Path) -> int:
    files = [path] if path.is_file() else [item for item in path.rglob("*") if item.is_file()]
    return sum(file.stat().st_size for file in files)


def _about(name: str) -> str:
    starts = (text for start, text in _BY_START if name.startswith(start))
    return _ABOUT.get(name) or next(starts, "")
