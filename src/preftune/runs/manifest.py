"""Checksums of a checkpoint's files, so that a run never resumes from a damaged one."""

import json
import mmap
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import xxhash
from accelerate import PartialState
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from typing_extensions import override

from preftune.errors import DataError
from preftune.files.json_files import read_record, write_json
from preftune.files.run_files import TRAINER_STATE, checkpoint_step

MANIFEST = "manifest.json"
"""Written last. A checkpoint without one was being saved when the run was killed; only its files are checked."""
_NEEDED = ("optimizer*", "scheduler*", "rng_state*")
_WEIGHTS = ("*.safetensors", "*.safetensors.index.json", "*model*.bin", "pytorch_model_fsdp*")


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """A file of a checkpoint.

    Args:
        path: Relative to the checkpoint, with forward slashes.
        bytes: Size.
        xxh3: Hexadecimal XXH3 checksum of 128 bits.
    """

    path: str
    bytes: int
    xxh3: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """The content of `manifest.json`."""

    files: tuple[ManifestEntry, ...]


def write_manifest(checkpoint: Path) -> None:
    """Write the manifest of a complete checkpoint."""
    entries = [
        ManifestEntry(file.relative_to(checkpoint).as_posix(), file.stat().st_size, _checksum(file))
        for file in sorted(checkpoint.rglob("*"))
        if file.is_file() and file.name != MANIFEST
    ]
    write_json(checkpoint / MANIFEST, Manifest(tuple(entries)))


def damage_of(checkpoint: Path, *, reads_files: bool = True) -> str | None:
    """The first difference of a checkpoint to what was saved; None if it is whole.

    Args:
        reads_files: Compare checksums, too, not only names and sizes.
    """
    with suppress(OSError, ValueError, DataError):
        return next(_damages(checkpoint, reads_files=reads_files), None)
    return f"{TRAINER_STATE} or {MANIFEST} cannot be read"


def _damages(checkpoint: Path, *, reads_files: bool) -> Iterator[str]:
    manifest = read_record(Manifest, checkpoint / MANIFEST, made_by="`preftune train`")
    for entry in manifest.files if manifest else ():
        file = checkpoint / entry.path
        if not file.is_file():
            yield f"{entry.path} is missing"
        elif file.stat().st_size != entry.bytes:
            yield f"{entry.path} has {file.stat().st_size:,} bytes, and {entry.bytes:,} were saved"
        elif reads_files and _checksum(file) != entry.xxh3:
            yield f"{entry.path} differs from what was saved"
    state: Any = json.loads((checkpoint / TRAINER_STATE).read_text(encoding="utf-8"))
    if not isinstance(state, dict) or state.get("global_step") != checkpoint_step(checkpoint):
        yield f"{TRAINER_STATE} is not that of step {checkpoint_step(checkpoint)}"
    for pattern in _NEEDED:
        yield from _faults_of(list(checkpoint.glob(pattern)), pattern)
    yield from _faults_of([file for pattern in _WEIGHTS for file in checkpoint.rglob(pattern)], "model weights")


def _faults_of(found: list[Path], name: str) -> Iterator[str]:
    if not found:
        yield f"no {name.replace('*', '')} is there"
    yield from (f"{file.name} is empty" for file in found if file.is_file() and not file.stat().st_size)


def _checksum(file: Path) -> str:
    if not file.stat().st_size:
        return ""
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return xxhash.xxh3_128(content).hexdigest()


@final
class WritesManifests(TrainerCallback):
    """Writes the manifest of each checkpoint in a thread of its own, while training continues."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None

    @override
    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        PartialState().wait_for_everyone()  # each rank writes files of its own
        self._wait()
        if state.is_world_process_zero:
            assert args.output_dir is not None, "a run has a folder"
            checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            self._thread = threading.Thread(target=_write_quietly, args=(checkpoint,), name="manifest")
            self._thread.start()

    @override
    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._wait()

    def _wait(self) -> None:
        if self._thread is not None:
            self._thread.join()


def _write_quietly(checkpoint: Path) -> None:
    """A checkpoint that cannot get its manifest, on a full disk for example, is still a checkpoint."""
    with suppress(OSError):
        write_manifest(checkpoint)
