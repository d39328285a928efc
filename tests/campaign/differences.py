"""The differences between two folders of results, apart from times and places."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from tests.runs import same_run

__all__ = ["differences", "weights_differ"]

_VARIES = re.compile(
    r"seconds|tokens_per_second|peak_memory|started|command|_runtime|_per_second|added|time|num_computed|num_kept|total_flos"
)
"""Keys of values that differ between any two equal runs: times, memory, and what a cache already held."""
_PICTURES = (".html", ".png", ".svg", ".log", ".lock", ".sqlite", ".sqlite-wal", ".sqlite-shm", ".pyc")
_WITH_TIMES = ("README.md", "training_args.bin")


def differences(expected: Path, found: Path, *, only_weights: bool = False) -> list[str]:
    """The differences between two folders, a line each; pages and pictures are compared by name.

    Args:
        only_weights: Compare the weights of models, without those of checkpoints.
    """
    if not only_weights and (expected / "run" / "metrics.jsonl").is_file():
        return [*_of_names(expected, found), *same_run.differences(expected / "run", found / "run")]
    return list(_differences(expected, found, only_weights=only_weights))


def weights_differ(expected: Path, found: Path) -> bool:
    """True if the weights of two safetensors files differ in a bit."""
    return any(_of_tensors(load_file(expected), load_file(found)))


def _differences(expected: Path, found: Path, *, only_weights: bool) -> Iterator[str]:
    names = {name for name in _names(expected) if not only_weights or _is_model(name)}
    if not only_weights:
        yield from _of_names(expected, found)
    for name in sorted(names):
        if not (found / name).is_file():
            if only_weights:
                yield f"{name} is missing"
            continue
        yield from (f"{name}: {text}" for text in _of_files(expected / name, found / name))


def _of_names(expected: Path, found: Path) -> Iterator[str]:
    names = _names(expected)
    for name in sorted(names ^ _names(found)):
        # A kill between a checkpoint and the deletion of the oldest one leaves one more.
        if name in names or "checkpoint-" not in name:
            yield f"{name} is {'missing' if name in names else 'left over'}"


def _names(folder: Path) -> set[str]:
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file() and _is_kept(file)}


def _is_model(name: str) -> bool:
    """True for the weights of a model that a command ended with."""
    return name.endswith(".safetensors") and "checkpoint-" not in name


def _is_kept(file: Path) -> bool:
    """True unless the file is a lock, an index of SQLite or a log, or may be missing after a kill."""
    endings = (".lock", ".lock.json", ".sqlite-wal", ".sqlite-shm", ".log", "manifest.json")
    return not file.name.endswith(endings) and not file.name.startswith("events.out.tfevents")


def _of_files(expected: Path, found: Path) -> Iterator[str]:
    if expected.suffix in _PICTURES or expected.name in _WITH_TIMES:
        return
    if expected.suffix == ".safetensors":
        yield from _of_tensors(load_file(expected), load_file(found))
    elif expected.suffix in (".pt", ".pth", ".bin"):
        first, second = (torch.load(file, weights_only=False) for file in (expected, found))
        yield from _of_values(first, second)
    elif expected.suffix == ".json":
        first, second = (json.loads(file.read_text(encoding="utf-8")) for file in (expected, found))
        yield from _of_values(first, second)
    elif expected.suffix == ".jsonl":
        yield from _of_lines(expected, found)
    elif expected.read_bytes() != found.read_bytes():
        yield "differs"


def _of_lines(expected: Path, found: Path) -> Iterator[str]:
    lines = [[json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] for file in (expected, found)]
    if len(lines[0]) != len(lines[1]):
        yield f"{len(lines[1])} lines, not {len(lines[0])}"
        return
    for number, (first, second) in enumerate(zip(*lines, strict=True), 1):
        yield from (f"line {number}: {text}" for text in _of_values(first, second))


def _of_tensors(expected: dict[str, torch.Tensor], found: dict[str, torch.Tensor]) -> Iterator[str]:
    yield from _of_values(expected, found)


def _of_values(expected: Any, found: Any, place: str = "") -> Iterator[str]:
    """The differences between two values of JSON, or of dicts and lists of tensors and arrays."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in sorted({*map(str, expected)} ^ {*map(str, found)}):
            if not _VARIES.search(key):
                yield f"{place}.{key} is in one alone"
        for key, value in expected.items():
            if key in found and not _VARIES.search(str(key)):
                yield from _of_values(value, found[key], f"{place}.{key}")
    elif isinstance(expected, list | tuple) and isinstance(found, list | tuple):
        if len(expected) != len(found):
            yield f"{place} has {len(found)} items, not {len(expected)}"
            return
        for number, (first, second) in enumerate(zip(expected, found, strict=True)):
            yield from _of_values(first, second, f"{place}[{number}]")
    elif not _is_equal(expected, found):
        short = "" if isinstance(expected, torch.Tensor) else f" = {str(found)[:60]}, not {str(expected)[:60]}"
        yield f"{place or 'it'} differs{short}"


def _is_equal(expected: Any, found: Any) -> bool:
    if isinstance(expected, torch.Tensor) and isinstance(found, torch.Tensor):
        return (
            torch.equal(expected.view(torch.uint8), found.view(torch.uint8))
            if expected.dim()
            else bool(expected == found)
        )
    if type(expected).__module__ == "numpy":
        return repr(expected) == repr(found)
    return bool(expected == found) or (expected != expected and found != found)
