"""Damage to one file of a folder, in each of its regions: the next command must not be misled by it."""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from tests.campaign.commands import Work, named
from tests.campaign.differences import differences
from tests.campaign.forked import Ended
from tests.campaign.kills import attempt, unbroken
from tests.campaign.place import Place
from tests.campaign.trial import Attempt, Kind

__all__ = ["DAMAGE", "DAMAGES", "damage"]

_AT_A_TIME = 3
"""Damages of one trial, which share a copy of the folder."""
_REGIONS = {
    "the first bytes": (0.0, 0.02),
    "the middle": (0.3, 0.7),
    "the last bytes": (0.97, 1.0),
    "any byte": (0.0, 1.0),
}


def _place_in(draw: Random, size: int) -> tuple[str, int]:
    region, (first, last) = draw.choice(list(_REGIONS.items()))
    return region, min(size - 1, int(size * draw.uniform(first, last)))


def _flip(file: Path, draw: Random) -> str:
    content = bytearray(file.read_bytes())
    region, byte = _place_in(draw, len(content))
    content[byte] ^= 1 << draw.randrange(8)
    file.write_bytes(content)
    return f"a flipped bit in {region} ({byte} of {len(content)})"


def _cut(file: Path, draw: Random) -> str:
    content = file.read_bytes()
    _, byte = _place_in(draw, len(content))
    file.write_bytes(content[:byte])
    return f"cut after {byte} of {len(content)} bytes"


def _empty(file: Path, draw: Random) -> str:
    file.write_bytes(b"")
    return "emptied"


def _zeros(file: Path, draw: Random) -> str:
    content = bytearray(file.read_bytes())
    _, byte = _place_in(draw, len(content))
    length = min(draw.choice([1, 16, 512, 4096]), len(content) - byte)
    content[byte : byte + length] = bytes(length)
    file.write_bytes(content)
    return f"{length} zeros at {byte} of {len(content)}"


def _noise(file: Path, draw: Random) -> str:
    content = bytearray(file.read_bytes())
    _, byte = _place_in(draw, len(content))
    length = min(draw.choice([1, 16, 512]), len(content) - byte)
    content[byte : byte + length] = draw.randbytes(length)
    file.write_bytes(content)
    return f"{length} random bytes at {byte} of {len(content)}"


def _delete(file: Path, draw: Random) -> str:
    file.unlink()
    return "deleted"


def _become_folder(file: Path, draw: Random) -> str:
    file.unlink()
    file.mkdir()
    return "replaced by a folder"


def _dangle(file: Path, draw: Random) -> str:
    file.unlink()
    file.symlink_to("nowhere")
    return "replaced by a dangling link"


def _append(file: Path, draw: Random) -> str:
    with file.open("ab") as opened:
        opened.write(draw.choice([b"\x00" * 10, b"{", b"\n\n", b"\xff\xfe", b'{"step": 3}', b"null\n"]))
    return "something appended"


def _other_json(file: Path, draw: Random) -> str:
    """Valid JSON of another shape, or with one value of another type."""
    if file.suffix not in (".json", ".jsonl"):
        return _flip(file, draw)
    lines = (
        file.read_text(encoding="utf-8").splitlines() if file.suffix == ".jsonl" else [file.read_text(encoding="utf-8")]
    )
    number = draw.randrange(len(lines)) if lines else 0
    if draw.random() < 0.3 or not lines:
        what: Any = draw.choice([None, [], {}, 3, "text", True])
        text = f"line {number + 1} is {what!r}"
    else:
        what = json.loads(lines[number])
        text = f"line {number + 1}: {_change(what, draw)}"
    lines[number : number + 1] = [json.dumps(what)]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return text


def _change(value: Any, draw: Random) -> str:
    """Change one value inside a JSON value, at any depth."""
    odd: list[Any] = [None, -1, 1e300, "", "x", [], {}, True, [[]], 2**70]
    place = ""
    while isinstance(value, dict | list) and value:
        key: Any = draw.choice(list(value)) if isinstance(value, dict) else draw.randrange(len(value))
        place += f".{key}"
        if not isinstance(value[key], dict | list) or not value[key] or draw.random() < 0.3:
            if draw.random() < 0.3:
                del value[key]
                return f"{place} deleted"
            value[key] = draw.choice(odd)
            return f"{place} = {value[key]!r}"
        value = value[key]
    return "unchanged"


DAMAGES: Sequence[Callable[[Path, Random], str]] = (
    _flip, _flip, _cut, _cut, _empty, _zeros, _noise, _delete, _become_folder, _dangle, _append, _other_json,
    _other_json,
)  # fmt: skip


def damage(file: Path, draw: Random) -> str:
    """Damage a file in one of the ways. Returns a text about it."""
    way = draw.choice([way for way in DAMAGES if file.stat().st_size or way in (_delete, _become_folder, _append)])
    return way(file, draw)


@dataclass(frozen=True, slots=True)
class Subject:
    """A folder whose files are damaged, and the command that reads it.

    Args:
        work: Makes the folder.
        calls: The command that comes after the damage, of the inputs' folder.
        cut: Takes away what the command is to make again.
        files: Patterns of the files that are damaged.
        same: True if the same results as without damage are due, whatever the damage; else only an end of its own.
    """

    name: str
    work: Work
    calls: Callable[[Path], Sequence[str]]
    files: tuple[str, ...]
    cut: Callable[[Path], None] = lambda _: None
    same: Callable[[str], bool] = lambda _: True


def _interrupt(folder: Path) -> None:
    """Leave what a run leaves that was killed after some checkpoints."""
    inside = folder / "run"
    for path in inside.iterdir():
        if path.suffix == ".safetensors" or path.name in ("summary.json", "report.html", "README.md"):
            path.unlink()
    latest = max(inside.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    shutil.rmtree(latest)


def _resumed(work: Work) -> Callable[[Path], Sequence[str]]:
    return lambda inputs: [*work.arguments(inputs), "--resume"]


def _drop_sweep(folder: Path) -> None:
    (folder / "sweep" / "sweep.json").unlink()


def _forget_model(folder: Path) -> None:
    shutil.rmtree(folder / "run")


_CHECKPOINT = ("run/checkpoint-*/*", "run/checkpoint-*/*/*")
_SWEEP_RECORDS = ("sweep/*.json", "sweep/records/*", "sweep/*/*.json*")
_RECORDS = ("run/*.json", "run/*.jsonl", "run/config.yaml")


def _subjects() -> Iterator[Subject]:
    for name in (
        "dpo",
        "lora dropout",
        "moved reference, soft",
        "early stopping",
        "bco",
        "moved reference, hard, adapter",
    ):
        work = named(name)
        yield Subject(f"a checkpoint of {name}", work, _resumed(work), _CHECKPOINT, _interrupt)
        if name in ("dpo", "early stopping"):
            yield Subject(f"records of an interrupted run, {name}", work, _resumed(work), _RECORDS, _interrupt)
    yield Subject("the reference cache", named("dpo"), named("dpo").arguments, ("cache/reference*",), _forget_model)
    yield Subject(
        "the cache of tokens",
        named("tokens kept"),
        named("tokens kept").arguments,
        ("cache/reference*",),
        _forget_model,
    )
    report = named("samples and report")
    yield Subject("records, then report", report, lambda _: ["report", "run"], _RECORDS, same=lambda _: False)
    yield Subject("an ended run, then --resume", named("dpo"), _resumed(named("dpo")), _RECORDS, same=lambda _: False)
    judged = named("eval, endpoint judge")
    yield Subject("the evaluation's store", judged, judged.arguments, ("cache/evaluation*",))
    yield Subject("a run, then eval", judged, judged.arguments, ("run/*",), same=lambda _: False)
    sweep = named("sweep")
    yield Subject(
        "records of a sweep",
        sweep,
        sweep.arguments,
        ("sweep/*.json", "sweep/records/*", "sweep/*/*.json*"),
        _drop_sweep,
    )
    yield Subject("checkpoints of a sweep", sweep, sweep.arguments, ("sweep/*/checkpoint-*/*",), _drop_sweep)
    yield Subject("an adapter, then merge", named("merge"), named("merge").arguments, ("run/*",), same=lambda _: False)


SUBJECTS: Sequence[Subject] = tuple(_subjects())


def _damage(place: Place, draw: Random, number: int) -> Iterator[Attempt]:
    subject = SUBJECTS[number % len(SUBJECTS)]
    expected = unbroken(place, subject.work)
    for _ in range(_AT_A_TIME):
        folder = place.copy(expected.folder)
        subject.cut(folder)
        files = sorted({file for pattern in subject.files for file in folder.glob(pattern) if file.is_file()})
        file = draw.choice(files)
        what = f"{subject.name}: {file.relative_to(folder)}: {damage(file, draw)}"
        ended = attempt(place, subject.work, folder, subject.calls(place.inputs))
        yield _judged(subject, what, ended, expected.folder, folder)


def _judged(subject: Subject, what: str, ended: Ended, expected: Path, folder: Path) -> Attempt:
    if ended.timed_out:
        return Attempt("lost", f"{what}: does not end")
    if ended.has_traceback:
        return Attempt("traceback", f"{what}: exit {ended.code}: {ended.last_lines}")
    if ended.code:
        return Attempt("message", what)
    found = differences(expected, folder, only_weights=True) if subject.same(what) else []
    if found:
        return Attempt("silent", f"{what}: {'; '.join(found[:3])} ({len(found)} differences)")
    return Attempt("held", what)


DAMAGE = Kind("damage", "damages", _damage, share=3)
