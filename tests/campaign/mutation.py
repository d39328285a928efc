"""Mutation of data and config files by structure and by bytes: a message or a result, never a traceback."""

import bz2
import contextlib
import copy
import csv
import gzip
import io
import json
import lzma
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import yaml
import zstandard

from preftune.settings import SETTINGS
from tests.campaign.commands import call
from tests.campaign.forked import CRASHED, Ended, run_forked
from tests.campaign.place import Place, rows_of
from tests.campaign.trial import Attempt, Kind

__all__ = ["CONFIGS", "DATA", "called_in_turn", "odd_value"]

_AT_A_TIME = 25
_SECONDS_EACH = 20

Row = dict[str, Any]
_ODD: Sequence[Any] = (
    None, True, 0, -1, 2**70, 1e308, float("nan"), "", " ", "\x00", "\x1b[2J", "[/b]", "\ud800", "x" * 3000, [], {},
    [None], [[]],
    {"role": 1}, {"role": "user", "content": None}, [{"role": "user"}], [{"content": "x"}], "null", "[1, 2", "{}",
    "\n\nHuman: a\n\nAssistant: b",
)  # fmt: skip
_NAMES = ("prompt", "chosen", "rejected", "completion", "label", "completions", "scores", "messages", "weight",
          "system", "tools", "margin", "images", "", "x" * 300, "a.b", "[b]")  # fmt: skip


def odd_value(draw: Random) -> Any:
    """A value that is seldom meant."""
    return copy.deepcopy(draw.choice(_ODD))


def _mutate_rows(rows: list[Any], draw: Random) -> None:
    """Change rows, fields, or values at any depth."""
    for _ in range(draw.choice([1, 1, 2, 5])):
        row = draw.randrange(len(rows)) if rows else 0
        if not rows or not isinstance(rows[row], dict) or draw.random() < 0.1:
            rows.insert(row, odd_value(draw))
            continue
        names = list(rows[row])
        name = draw.choice(names) if names and draw.random() < 0.7 else draw.choice(_NAMES)
        change = draw.random()
        if change < 0.2 and name in rows[row]:
            del rows[row][name]
        elif change < 0.4:
            for other in rows:
                if isinstance(other, dict):
                    other[name] = odd_value(draw)
        elif change < 0.5 and names:
            rows[row][draw.choice(_NAMES)] = rows[row].pop(draw.choice(names))
        else:
            rows[row][name] = odd_value(draw)


def _as_json(rows: Sequence[Any]) -> bytes:
    return json.dumps(rows).encode("utf-8", errors="surrogatepass")


def _as_lines(rows: Sequence[Any]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def _as_table(rows: Sequence[Any], delimiter: str = ",") -> bytes:
    fields = sorted({str(name) for row in rows if isinstance(row, dict) for name in row})
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerow(fields)
    for row in rows:
        writer.writerow([row.get(name, "") for name in fields] if isinstance(row, dict) else [row])
    return text.getvalue().encode("utf-8", errors="surrogatepass")


def _as_parquet(rows: Sequence[Any]) -> bytes:
    import pyarrow
    import pyarrow.parquet

    tables = [row for row in rows if isinstance(row, dict)]
    try:
        table = pyarrow.Table.from_pylist(tables)
    except (pyarrow.ArrowException, ValueError, TypeError, OverflowError):  # values of several types
        table = pyarrow.Table.from_pylist([{name: json.dumps(value) for name, value in row.items()} for row in tables])
    written = io.BytesIO()
    try:
        pyarrow.parquet.write_table(table, written)
    except pyarrow.ArrowException:  # Parquet has no objects without fields
        pyarrow.parquet.write_table(pyarrow.table({"prompt": [json.dumps(row) for row in tables]}), written)
    return written.getvalue()


_FILES: Mapping[str, Callable[[Sequence[Any]], bytes]] = {
    ".json": _as_json,
    ".jsonl": _as_lines,
    ".csv": _as_table,
    ".tsv": partial(_as_table, delimiter="\t"),
    ".parquet": _as_parquet,
    ".jsonl.gz": lambda rows: gzip.compress(_as_lines(rows)),
    ".jsonl.bz2": lambda rows: bz2.compress(_as_lines(rows)),
    ".jsonl.xz": lambda rows: lzma.compress(_as_lines(rows)),
    ".jsonl.zst": lambda rows: zstandard.compress(_as_lines(rows)),
}


def _mutate_bytes(content: bytes, draw: Random) -> bytes:
    """Flip, cut, repeat or insert bytes."""
    changed = bytearray(content)
    for _ in range(draw.choice([1, 1, 3, 10])):
        place = draw.randrange(len(changed) + 1)
        match draw.randrange(5):
            case 0 if place < len(changed):
                changed[place] ^= 1 << draw.randrange(8)
            case 1:
                changed[place:place] = draw.choice([b"\x00", b"\xff\xfe", b'"', b"{", b"\n", b"\xed\xa0\x80", b"\x1b["])
            case 2:
                del changed[place : place + draw.choice([1, 10, 100])]
            case 3:
                changed[place:place] = changed[place : place + draw.choice([1, 10, 1000])]
            case _:
                del changed[place:]
    return bytes(changed)


def _data_calls(draw: Random, folder: Path) -> Iterator[list[str]]:
    """Write mutated files, and yield a command that reads each."""
    for number in range(_AT_A_TIME):
        feedback = draw.choice(["pairs", "thumbs", "lists", "demonstrations"])
        ending = draw.choice(list(_FILES))
        rows: list[Any] = rows_of(feedback, 4)
        by_bytes = draw.random() < 0.4
        if not by_bytes:
            _mutate_rows(rows, draw)
        content = _FILES[ending](rows)
        file = folder / f"{number}{ending}"
        file.write_bytes(_mutate_bytes(content, draw) if by_bytes else content)
        match draw.randrange(3):
            case 0:
                yield ["check", file.name]
            case 1:
                yield ["convert", file.name, "--to", "messages", "--output", f"{number}-new.jsonl"]
            case _:
                yield ["clean", file.name, "--dedupe", "--drop-unusable", "--output", f"{number}-new.jsonl"]


def _config_calls(draw: Random, folder: Path) -> Iterator[list[str]]:
    """Write mutated config files, and yield a command that reads each."""
    for number in range(_AT_A_TIME):
        settings: dict[Any, Any] = {"model": "model", "data": ["pairs.jsonl"], "output": "run", "beta": 0.1}
        for _ in range(draw.choice([1, 2, 6])):
            name: Any = draw.choice(list(SETTINGS)) if draw.random() < 0.8 else draw.choice([*_NAMES, 1, None, 1.5])
            settings[name] = odd_value(draw)
        text = yaml.dump(settings, allow_unicode=True).encode("utf-8", errors="surrogatepass")
        file = folder / f"{number}.yaml"
        file.write_bytes(_mutate_bytes(text, draw) if draw.random() < 0.4 else text)
        yield [draw.choice(["train", "train", "sft"]), "--config", file.name, "--print-config"]


def called_in_turn(calls: Sequence[Sequence[str]], *, seconds: int = _SECONDS_EACH) -> int:
    """Make calls one after the other in this process, and write the end of each into `ends.jsonl`."""
    with open("ends.jsonl", "w", encoding="utf-8") as file:  # noqa: PTH123
        for arguments in calls:
            text, code = io.StringIO(), CRASHED
            started = time.monotonic()
            signal.alarm(seconds)
            with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
                try:
                    code = call(*arguments)
                except Exception:
                    traceback.print_exc()
            signal.alarm(0)
            file.write(json.dumps([code, text.getvalue(), time.monotonic() - started]) + "\n")
            file.flush()
    return 0


def _mutation(
    calls_of: Callable[[Random, Path], Iterator[list[str]]], place: Place, draw: Random, number: int
) -> Iterator[Attempt]:
    folder = place.new()
    calls = list(calls_of(draw, folder))
    environment = {"PREFTUNE_CACHE": str(folder / "cache"), "COLUMNS": "200"}
    whole = run_forked(
        partial(called_in_turn, calls), folder, environment=environment, at_most=_AT_A_TIME * _SECONDS_EACH
    )
    file = folder / "ends.jsonl"
    ends = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []
    for arguments, (code, text, seconds) in zip(calls, ends, strict=False):
        yield judged(" ".join(arguments), Ended(code, text, seconds, 0))
    if whole.code and len(ends) < len(calls):
        how = "does not end" if whole.code == -signal.SIGALRM else f"exit {whole.code}: {whole.last_lines}"
        yield Attempt("lost" if whole.code == -signal.SIGALRM else "traceback", f"{' '.join(calls[len(ends)])}: {how}")


def judged(about: str, ended: Ended) -> Attempt:
    """The attempt of an input for which any end of its own is right."""
    if ended.timed_out:
        return Attempt("lost", f"{about}: does not end")
    if ended.has_traceback:
        return Attempt("traceback", f"{about}: exit {ended.code}: {ended.last_lines}")
    return Attempt("message" if ended.code else "held", about)


DATA = Kind("data", "files", partial(_mutation, _data_calls), share=0.3)
CONFIGS = Kind("configs", "files", partial(_mutation, _config_calls), share=0.1)
