"""Comparison of two run folders: a run that was interrupted and resumed must equal one that was not."""

import json
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load_file

__all__ = ["MAY_DIFFER", "assert_same_run", "differences"]

_PACE = ("*runtime", "*_per_second", "*peak_memory*")
MAY_DIFFER: Mapping[str, tuple[str, ...]] = {
    "metrics.jsonl": _PACE,
    "summary.json": ("folder", "seconds", "peak_memory_bytes"),
    "health.json": (),
    "data-check.json": ("seconds",),
    "config.yaml": ("output", "overwrite", "resume"),
    "run.json": ("started", "command", "git.*", "platform", "python", "versions.*"),
    "samples.jsonl": (),
    "trainer_state.json": (*_PACE, "best_model_checkpoint", "*.seconds"),
    "adapter_config.json": (),
}
"""Fields that may differ by file, as patterns over dotted names or their last part: time, pace, memory and paths."""

_SHOWN = 20


def differences(first: Path, second: Path, *, checkpoints: bool = True) -> list[str]:
    """Differences of two run folders beyond `MAY_DIFFER`; empty if they are the same run.

    Compares records line by line, weights, optimizer, schedule and random states bit by bit. Of the checkpoints the
    newest must be of the same step, and all that both folders have are compared; an interruption may leave others.

    Args:
        checkpoints: Compare the checkpoints, too.
    """
    found = [*_of_records(first, second), *_of_tensors(first, second)]
    if checkpoints:
        found += _of_checkpoints(first, second)
    return found


def assert_same_run(first: Path, second: Path, *, checkpoints: bool = True) -> None:
    """Fail with the differences of two run folders."""
    found = differences(first, second, checkpoints=checkpoints)
    more = f"\n... and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    assert not found, f"{first} and {second} differ:\n" + "\n".join(found[:_SHOWN]) + more


def _of_checkpoints(first: Path, second: Path) -> Iterator[str]:
    steps = [{_step(path) for path in folder.glob("checkpoint-*")} for folder in (first, second)]
    newest = [max(own, default=None) for own in steps]
    if newest[0] != newest[1]:
        yield f"newest checkpoint: {newest[0]} and {newest[1]}"
    for step in sorted(steps[0] & steps[1]):
        name = f"checkpoint-{step}"
        for line in (*_of_records(first / name, second / name), *_of_tensors(first / name, second / name)):
            yield f"{name}/{line}"


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def _of_records(first: Path, second: Path) -> Iterator[str]:
    for name, free in MAY_DIFFER.items():
        values = [_record(folder / name) for folder in (first, second)]
        for place, one, other in _differing(*values):
            if not any(fnmatch(place, pattern) or fnmatch(place.rpartition(".")[2], pattern) for pattern in free):
                yield f"{name}: {place}: {one!r:.120} and {other!r:.120}"


def _record(file: Path) -> Any:
    """Content of a JSON, JSON lines or YAML file; None if there is none."""
    if not file.is_file():
        return None
    text = file.read_text(encoding="utf-8")
    match file.suffix:
        case ".jsonl":
            return [json.loads(line) for line in text.split("\n") if line]
        case ".json":
            return json.loads(text)
        case _:
            return yaml.safe_load(text)


def _differing(first: Any, second: Any, place: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Dotted names of values that differ, with both values."""
    if isinstance(first, dict) and isinstance(second, dict):
        for name in [*first, *(name for name in second if name not in first)]:
            inner = f"{place}.{name}" if place else str(name)
            yield from _differing(first.get(name, "(missing)"), second.get(name, "(missing)"), inner)
    elif isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        for number, (one, other) in enumerate(zip(first, second, strict=True), start=1):
            yield from _differing(one, other, f"{place}[{number}]")
    elif isinstance(first, list) and isinstance(second, list):
        one, other = [_step_of(item) for item in first], [_step_of(item) for item in second]
        yield place or "lines", f"{len(first)} of steps {one}", f"{len(second)} of steps {other}"
    elif first != second and not (first != first and second != second):
        yield place, first, second


def _step_of(item: Any) -> Any:
    return item.get("step") if isinstance(item, dict) else None


def _of_tensors(first: Path, second: Path) -> Iterator[str]:
    names = {
        file.relative_to(folder).as_posix()
        for folder in (first, second)
        for pattern in ("*.safetensors", "*/*.safetensors", "*.pt", "*.pth")
        for file in folder.glob(pattern)
        if not file.relative_to(folder).as_posix().startswith(("checkpoint-", "damaged-checkpoint-"))
    }
    for name in sorted(names):
        here = [(folder / name).is_file() for folder in (first, second)]
        if not all(here):
            yield f"{name}: is only in {first if here[0] else second}"
        else:
            differing = [place for place, _, _ in _unequal(*(_load(folder / name) for folder in (first, second)))]
            if differing:
                yield f"{name}: {len(differing)} values differ, {differing[0]} for one"


def _load(file: Path) -> Any:
    if file.suffix == ".safetensors":
        return load_file(file)
    return torch.load(file, weights_only=False)


def _unequal(first: Any, second: Any, place: str = "") -> Iterator[tuple[str, Any, Any]]:
    """As `_differing`, for nested values with tensors and arrays."""
    if isinstance(first, dict) and isinstance(second, dict) and first.keys() == second.keys():
        for name in first:
            yield from _unequal(first[name], second[name], f"{place}.{name}".lstrip("."))
    elif isinstance(first, (list, tuple)) and isinstance(second, (list, tuple)) and len(first) == len(second):
        for number, (one, other) in enumerate(zip(first, second, strict=True)):
            yield from _unequal(one, other, f"{place}[{number}]")
    elif hasattr(first, "shape") and hasattr(second, "shape"):
        one, other = torch.as_tensor(first), torch.as_tensor(second)
        if one.dtype != other.dtype or not torch.equal(one, other):
            yield place, first, second
    elif first != second:
        yield place, first, second
