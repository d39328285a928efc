"""Locks, full disks and foreign files, as a store sees them."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from preftune.errors import BrokenCacheError, CacheError
from preftune.files import sqlite
from preftune.files.sqlite import SqliteFile

TABLES = ("CREATE TABLE letters (id BLOB PRIMARY KEY, text TEXT NOT NULL)",)


def opened(path: Path, **options: object) -> SqliteFile:
    return SqliteFile(path, application_id=7, version=1, tables=TABLES, advice="Move it.", **options)  # type: ignore[arg-type]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "letters.sqlite"


def test_a_transaction_that_fails_leaves_nothing_behind(path: Path) -> None:
    file = opened(path)
    row = "INSERT INTO letters VALUES (?, 'Dear')"
    with pytest.raises(CacheError, match="UNIQUE"), file.transaction():
        file.execute_many(row, [(b"a",), (b"a",)])
    assert file.execute("SELECT * FROM letters") == []


def test_many_keys_are_looked_up_in_chunks(path: Path) -> None:
    file = opened(path)
    keys = [bytes([number // 256, number % 256]) for number in range(1200)]
    file.execute_many("INSERT INTO letters VALUES (?, 'x')", ([key] for key in keys))
    assert {key for (key,) in file.select("SELECT id FROM letters WHERE text = ? AND id IN", "x", keys)} == set(keys)


def test_a_lock_that_is_not_released_is_an_error_with_advice(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "_WAIT_SECONDS", 0.01)
    file, other = opened(path), opened(path)
    with other.transaction():
        other.execute("INSERT INTO letters VALUES (?, 'x')", (b"a",))
        with pytest.raises(CacheError, match=r"database is locked\. Move it\."):
            file.execute("INSERT INTO letters VALUES (?, 'x')", (b"b",))


def test_another_version_and_other_tables_are_refused(path: Path) -> None:
    opened(path).close()
    with closing(sqlite3.connect(path)) as file, file:
        file.execute("CREATE TABLE more (x)")
    file.close()
    with pytest.raises(BrokenCacheError, match=r"is a database of another version of preftune\. Move it\."):
        opened(path)


def test_damage_has_its_own_advice(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("no database" * 100)
    with pytest.raises(BrokenCacheError, match=r"is damaged \(.*\)\. Restore it\."):
        opened(path, if_damaged="Restore it.")
