import math
import os
import random
import signal
import sqlite3
import struct
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from preftune.errors import BrokenCacheError, CacheError
from preftune.model.reference import store as store_module
from preftune.model.reference.fingerprint import Fingerprint
from preftune.model.reference.store import LogpStore, OptionalStore, StoredModel, TokenArray, files_of, set_aside

MODEL, OTHER = (Fingerprint(name * 16, "llama", "float32 weights") for name in (b"m", b"o"))
ROOT = Path(__file__).parents[3]


def key(number: int) -> bytes:
    return struct.pack("<QQ", number, number)


def write(store: LogpStore, *numbers: int, model: Fingerprint = MODEL) -> None:
    store.write(model, {key(number): -number - 0.1 for number in numbers})


def tokens_of(number: int, dtype: type[np.floating[Any]] = np.float32) -> TokenArray:
    """As many values as the number says, and one."""
    return (-0.1 * np.arange(1, number + 2)).astype(dtype)


def write_tokens(store: LogpStore, *numbers: int, model: Fingerprint = MODEL) -> None:
    arrays = {key(number): tokens_of(number) for number in numbers}
    store.write_tokens(model, arrays)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "logps.sqlite"


def test_what_is_written_is_read_back_exactly_by_another_store(path: Path) -> None:
    store = LogpStore(path)
    write(store, *range(2000))
    store.close()
    found = LogpStore(path).read(MODEL, map(key, range(1990, 2010)))
    assert found == {key(number): -number - 0.1 for number in range(1990, 2000)}


def test_models_do_not_share_entries(path: Path) -> None:
    store = LogpStore(path)
    write(store, 1, 2)
    write(store, 2, 3, model=OTHER)
    assert store.read(MODEL, [key(1), key(3)]).keys() == {key(1)}
    assert [model.num_logps for model in store.models()] == [2, 2]


def test_it_describes_its_content(path: Path) -> None:
    store = LogpStore(path)
    assert store.models() == []
    write(store, 1, 2)
    write_tokens(store, 2, 3, 4)
    (model,) = store.models()
    assert model == StoredModel("llama", "float32 weights", model.added, num_logps=2, num_token_logps=3)


def test_nan_is_not_stored(path: Path) -> None:
    store = LogpStore(path)
    store.write(MODEL, {key(1): math.nan, key(2): -math.inf, key(3): -1.0})
    assert store.read(MODEL, map(key, range(4))) == {key(3): -1.0}
    arrays = {key(1): np.array([-1.0, math.nan]), key(2): np.array([-math.inf])}
    store.write_tokens(MODEL, arrays)
    assert store.read_tokens(MODEL, map(key, range(4))) == {}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_per_token_are_read_back_bit_by_bit_in_their_type(path: Path, dtype: type[np.floating[Any]]) -> None:
    arrays = {key(number): tokens_of(number, dtype) for number in range(1000)}
    store = LogpStore(path)
    store.write_tokens(MODEL, arrays)
    store.close()
    found = LogpStore(path).read_tokens(MODEL, map(key, range(990, 1010)))
    assert found.keys() == {key(number) for number in range(990, 1000)}
    for each, values in found.items():
        assert values.dtype == dtype
        assert np.array_equal(values, arrays[each])


def test_values_per_token_answer_for_their_sum_and_not_the_other_way_round(path: Path) -> None:
    store = LogpStore(path)
    write(store, 1)
    write_tokens(store, 1, 2)
    found = store.read(MODEL, map(key, range(4)))
    assert found == {key(1): -1.1, key(2): math.fsum(tokens_of(2).tolist())}
    assert store.read_tokens(MODEL, map(key, range(4))).keys() == {key(1), key(2)}
    write(store, 3)
    assert store.read_tokens(MODEL, [key(3)]) == {}


@pytest.mark.parametrize(
    "change",
    [
        "logps SET logp = CAST('text' AS BLOB)",
        "token_logps SET logps = zeroblob(13)",
        "token_logps SET logps = 'text'",
        "token_logps SET bytes_per_value = 7",
    ],
)
def test_values_of_another_type_are_broken(path: Path, change: str) -> None:
    store = LogpStore(path)
    write(store, 2)
    write_tokens(store, 2)
    store.close()
    with closing(sqlite3.connect(path)) as file, file:
        file.execute("PRAGMA ignore_check_constraints = ON")
        file.execute(f"UPDATE {change}")
    file.close()
    with pytest.raises(BrokenCacheError, match="is damaged"):
        LogpStore(path)


def test_it_writes_ahead_so_that_readers_do_not_wait(path: Path) -> None:
    store = LogpStore(path)
    write(store, 1)
    with closing(sqlite3.connect(path)) as reader:
        assert reader.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    store._file.execute("BEGIN IMMEDIATE")
    assert LogpStore(path).read(MODEL, [key(1)])
    store._file.execute("ROLLBACK")


@pytest.mark.parametrize("content", [b"Dear diary, this is no database.", b"SQLite format 3\0" + b"x" * 200])
def test_a_file_that_is_no_database_is_broken(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(BrokenCacheError, match=r"logps\.sqlite: is damaged"):
        LogpStore(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("marks", ["", "PRAGMA application_id = 42", "PRAGMA user_version = 7"])
def test_a_database_of_another_program_is_left_as_it_is(path: Path, marks: str) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as foreign, foreign:
        foreign.execute("CREATE TABLE letters (text)")
        foreign.execute(marks)
    foreign.close()
    content = path.read_bytes()
    with pytest.raises(BrokenCacheError, match="is a database of another program"):
        LogpStore(path)
    assert path.read_bytes() == content


def test_another_version_is_not_believed(path: Path) -> None:
    store = LogpStore(path)
    store._file.execute("PRAGMA user_version = 2")
    store.close()
    with pytest.raises(BrokenCacheError, match="of another version of preftune"):
        LogpStore(path)


def test_a_file_cut_short_is_broken(path: Path) -> None:
    store = LogpStore(path)
    write(store, *range(2000))
    store.close()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(BrokenCacheError):
        LogpStore(path)


def test_a_page_that_was_overwritten_anywhere_is_found_when_the_file_is_opened(path: Path) -> None:
    numbers = range(200)
    store = LogpStore(path)
    write(store, *numbers)
    write_tokens(store, *numbers)
    store.close()
    whole = path.read_bytes()
    with closing(sqlite3.connect(path)) as file:
        (page_size,) = file.execute("PRAGMA page_size").fetchone()
    rng = random.Random(0)
    assert len(whole) > 10 * page_size
    for start in range(page_size, len(whole), page_size):
        for content in (bytes(page_size), rng.randbytes(page_size)):
            path.write_bytes(whole[:start] + content + whole[start + page_size :])
            with pytest.raises(BrokenCacheError, match="is damaged"):
                LogpStore(path)


def test_a_broken_file_is_set_aside_with_what_belongs_to_it(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("broken")
    path.with_name(path.name + "-wal").write_text("log")
    aside = set_aside(path)
    assert aside.name.startswith("logps.sqlite.broken-20")
    assert aside.read_text() == "broken"
    assert aside.with_name(aside.name + "-wal").read_text() == "log"
    assert files_of(path) == []


def test_a_full_disk_is_an_error_that_keeps_what_was_there(path: Path) -> None:
    store = LogpStore(path)
    write(store, 1)
    store._file.execute("PRAGMA max_page_count = 8")
    with pytest.raises(CacheError, match="full"):
        write(store, *range(2, 5000))
    assert store.read(MODEL, map(key, range(5000))).keys() == {key(1)}


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CacheError, match="file"):
        LogpStore(tmp_path / "file" / "logps.sqlite")


_WRITER = """
import struct, sys
from pathlib import Path
from types import SimpleNamespace
from preftune.model.reference.store import LogpStore  # without transformers, so that it starts at once
store = LogpStore(Path(sys.argv[1]))
model = SimpleNamespace(digest=b"m" * 16, name="llama", description="float32 weights")
for number in range(int(sys.argv[2]), int(sys.argv[3])):
    store.write(model, {struct.pack("<QQ", number, number): -number - 0.1})
    print(number, flush=True)
"""


def start_writer(path: Path, first: int, last: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _WRITER, str(path), str(first), str(last)]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def test_processes_that_begin_and_write_at_once_lose_nothing(path: Path) -> None:
    writers = [start_writer(path, 200 * number, 200 * (number + 1)) for number in range(3)]
    for writer in writers:
        writer.communicate(timeout=300)
        assert writer.returncode == 0
    assert len(LogpStore(path).read(MODEL, map(key, range(600)))) == 600


def test_a_kill_loses_only_what_was_not_handed_over(path: Path) -> None:
    writer = start_writer(path, 0, 10**9)
    assert writer.stdout is not None
    while int(writer.stdout.readline()) < 50:
        time.sleep(0)
    writer.send_signal(signal.SIGKILL)
    said = [int(line) for line in writer.communicate(timeout=300)[0].splitlines() if line]
    last = max([50, *said[:-1]])
    assert len(LogpStore(path).read(MODEL, map(key, range(last + 1)))) == last + 1


KEY = b"k" * 16


def read(store: OptionalStore) -> dict[bytes, float]:
    return store.attempt(lambda opened: opened.read(MODEL, [KEY]), otherwise={})


def read_tokens(store: OptionalStore) -> dict[bytes, TokenArray]:
    return store.attempt(lambda opened: opened.read_tokens(MODEL, [KEY]), otherwise={})


def try_write(store: OptionalStore, logps: dict[bytes, float]) -> None:
    store.attempt(lambda opened: opened.write(MODEL, logps), otherwise=None)


def try_write_tokens(store: OptionalStore, logps: dict[bytes, TokenArray]) -> None:
    store.attempt(lambda opened: opened.write_tokens(MODEL, logps), otherwise=None)


@pytest.fixture
def said() -> list[str]:
    return []


def test_a_broken_file_is_set_aside_and_a_new_one_begun(tmp_path: Path, said: list[str]) -> None:
    path = tmp_path / "logps.sqlite"
    path.write_text("This is no database, and long enough to see that it is none. " * 20)
    store = OptionalStore(path, said.append)
    assert read(store) == {}
    try_write(store, {KEY: -1.0})
    store.close()
    assert read(OptionalStore(path, said.append)) == {KEY: -1.0}
    (line,) = said
    (aside,) = tmp_path.glob("*.broken-*")
    assert "is damaged" in line
    assert aside.name in line


def test_without_a_writable_folder_a_run_continues_and_warns_once(tmp_path: Path, said: list[str]) -> None:
    (tmp_path / "file").write_text("")
    store = OptionalStore(tmp_path / "file" / "logps.sqlite", said.append)
    assert read(store) == read_tokens(store) == {}
    try_write(store, {KEY: -1.0})
    try_write_tokens(store, {KEY: np.array([-1.0])})
    store.close()
    (line,) = said
    assert "computed for this run and not stored" in line
    assert "PREFTUNE_CACHE" in line


def test_a_disk_that_fills_up_on_the_way_stops_the_keeping_and_not_the_run(
    tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = OptionalStore(tmp_path / "logps.sqlite", said.append)
    try_write(store, {KEY: -1.0})

    def fills_up(self: LogpStore, *_: object, **__: object) -> None:
        raise CacheError("logps.sqlite: database or disk is full.")

    with monkeypatch.context() as patch:
        patch.setattr(LogpStore, "write", fills_up)
        try_write(store, {b"l" * 16: -2.0})
        try_write(store, {b"n" * 16: -2.0})
    store.close()
    (line,) = said
    assert "disk is full" in line
    assert read(OptionalStore(tmp_path / "logps.sqlite", said.append)) == {KEY: -1.0}


def test_a_broken_file_that_cannot_be_set_aside_is_not_used(
    tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "logps.sqlite"
    path.write_text("no database" * 100)

    def refuses(_: Path) -> Path:
        raise CacheError(f"{path}: cannot be renamed (Read-only file system).")

    monkeypatch.setattr(store_module, "set_aside", refuses)
    assert read(OptionalStore(path, said.append)) == {}
    assert "cannot be renamed" in said[0]
    assert path.read_text() == "no database" * 100


def test_log_probs_per_token_are_kept_and_damage_is_set_aside(tmp_path: Path, said: list[str]) -> None:
    path = tmp_path / "logps.sqlite"
    store = OptionalStore(path, said.append)
    try_write_tokens(store, {KEY: np.array([-1.0, -0.5])})
    assert read_tokens(store)[KEY].tolist() == [-1.0, -0.5]
    store.close()
    content = bytearray(path.read_bytes())
    content[-4096:] = bytes(4096)
    path.write_bytes(content)
    store = OptionalStore(path, said.append)
    assert read(store) == {}
    assert "is damaged" in said[0]
    assert "was renamed" in said[0]
    try_write_tokens(store, {KEY: np.array([-1.0, -0.5])})
    assert read_tokens(store)[KEY].tolist() == [-1.0, -0.5]
