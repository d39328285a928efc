import sqlite3
from pathlib import Path

import numpy as np
import pytest

from preftune.errors import CacheError
from preftune.model.reference import store as store_module
from preftune.model.reference.fingerprint import Fingerprint
from preftune.model.reference.store import LogpStore, OptionalStore

MODEL = Fingerprint(b"m" * 16, "llama", "float32 weights")
KEY = b"k" * 16


@pytest.fixture
def said() -> list[str]:
    return []


def test_a_broken_file_is_set_aside_and_a_new_one_begun(tmp_path: Path, said: list[str]) -> None:
    path = tmp_path / "logps.sqlite"
    path.write_text("This is no database, and long enough to see that it is none. " * 20)
    store = OptionalStore(path, said.append)
    assert store.read(MODEL, [KEY]) == {}
    store.write(MODEL, {KEY: -1.0})
    store.close()
    assert OptionalStore(path, said.append).read(MODEL, [KEY]) == {KEY: -1.0}
    (line,) = said
    (aside,) = tmp_path.glob("*.broken-*")
    assert "is damaged" in line
    assert aside.name in line


def test_without_a_place_to_write_a_run_goes_on_and_is_told_once(tmp_path: Path, said: list[str]) -> None:
    (tmp_path / "file").write_text("")
    store = OptionalStore(tmp_path / "file" / "logps.sqlite", said.append)
    assert store.read(MODEL, [KEY]) == store.read_tokens(MODEL, [KEY]) == {}
    store.write(MODEL, {KEY: -1.0})
    store.write_tokens(MODEL, {KEY: np.array([-1.0])})
    store.close()
    (line,) = said
    assert "computed for this run alone and not kept" in line
    assert "PREFTUNE_CACHE" in line


def test_a_disk_that_fills_up_on_the_way_stops_the_keeping_and_not_the_run(
    tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = OptionalStore(tmp_path / "logps.sqlite", said.append)
    store.write(MODEL, {KEY: -1.0})

    def fills_up(self: LogpStore, *_: object, **__: object) -> None:
        raise CacheError("logps.sqlite: database or disk is full.")

    with monkeypatch.context() as patch:
        patch.setattr(LogpStore, "write", fills_up)
        store.write(MODEL, {b"l" * 16: -2.0})
        store.write(MODEL, {b"n" * 16: -2.0})
    store.close()
    (line,) = said
    assert "disk is full" in line
    assert OptionalStore(tmp_path / "logps.sqlite", said.append).read(MODEL, [KEY]) == {KEY: -1.0}


def test_a_broken_file_that_cannot_be_set_aside_is_not_used(
    tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "logps.sqlite"
    path.write_text("no database" * 100)

    def refuses(_: Path) -> Path:
        raise CacheError(f"{path}: cannot be set aside (Read-only file system).")

    monkeypatch.setattr(store_module, "set_aside", refuses)
    assert OptionalStore(path, said.append).read(MODEL, [KEY]) == {}
    assert "cannot be set aside" in said[0]
    assert path.read_text() == "no database" * 100


def test_log_probs_per_token_are_kept_and_damage_is_set_aside(tmp_path: Path, said: list[str]) -> None:
    path = tmp_path / "logps.sqlite"
    store = OptionalStore(path, said.append)
    store.write_tokens(MODEL, {KEY: np.array([-1.0, -0.5])})
    assert store.read_tokens(MODEL, [KEY])[KEY].tolist() == [-1.0, -0.5]
    store.close()
    with sqlite3.connect(path) as file:
        file.execute("UPDATE token_logps SET logps = x'0000000000000000'")
    file.close()
    store = OptionalStore(path, said.append)
    assert store.read(MODEL, [KEY]) == {}
    assert "a log-prob is not the one that was written" in said[0]
    assert "set aside" in said[0]
