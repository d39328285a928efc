"""The file that keeps log-probs from run to run: an SQLite database that is checked before it is believed."""

import sqlite3
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from math import isfinite
from pathlib import Path
from typing import final

from preftune.errors import BrokenCacheError, CacheError

__all__ = ["LogpStore", "StoredModel", "broken_files_of", "files_of", "set_aside"]

_APPLICATION_ID = 0x70726674
"""`prft`, in the file's header: whose database it is."""
_VERSION = 1
"""Of the tables. Another one is another file: values are cheap to compute again, and dear to get wrong."""
_TABLES = (
    "CREATE TABLE models (id INTEGER PRIMARY KEY, fingerprint BLOB NOT NULL UNIQUE, name TEXT NOT NULL, "
    "description TEXT NOT NULL, added TEXT NOT NULL)",
    # A table of values per token would stand beside this one, with the same key.
    "CREATE TABLE logps (model INTEGER NOT NULL, completion BLOB NOT NULL, logp REAL NOT NULL, "
    "checksum INTEGER NOT NULL, PRIMARY KEY (model, completion)) WITHOUT ROWID",
)
_WAIT_SECONDS = 30.0
"""How long to wait while another process writes."""
_KEYS_PER_QUERY = 500
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_COMPANIONS = ("", "-wal", "-shm")
_BROKEN = ".broken-"


@dataclass(frozen=True, slots=True)
class StoredModel:
    """What the file holds of one reference.

    Args:
        name, description: See `Fingerprint`.
        added: When it was first seen, in UTC, such as `2026-01-31 12:00`.
        num_logps: Completions with a log-prob.
    """

    name: str
    description: str
    added: str
    num_logps: int


@final
class LogpStore:
    """Log-probs by fingerprint and completion key, in one file.

    Every call that writes commits, so that a kill loses what was not handed over yet and nothing else. Several
    processes of one machine may have the file open: readers see whole commits, writers wait for each other.

    Args:
        path: The file; made with its folders if it is not there.
    Raises:
        BrokenCacheError: the file is damaged, of another program or of another version of these tables.
        CacheError: it cannot be opened or made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._translated():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, timeout=_WAIT_SECONDS, isolation_level=None)
        try:
            with self._translated():
                self._check_or_create()
                self._connection.execute("PRAGMA journal_mode = WAL")
                self._connection.execute("PRAGMA synchronous = NORMAL")
        except CacheError:
            self._connection.close()
            raise

    def read(self, fingerprint: bytes, keys: Iterable[bytes]) -> dict[bytes, float]:
        """The log-probs that are there, of those asked for.

        Raises:
            BrokenCacheError: a value is not the one that was written.
            CacheError: the file cannot be read.
        """
        found: dict[bytes, float] = {}
        with self._translated():
            for chunk in _chunks(keys, _KEYS_PER_QUERY):
                rows = self._connection.execute(
                    "SELECT completion, logp, checksum FROM logps JOIN models ON model = id "
                    f"WHERE fingerprint = ? AND completion IN ({', '.join('?' * len(chunk))})",
                    (fingerprint, *chunk),
                )
                for key, logp, checksum in rows:
                    if not isinstance(logp, float) or checksum != _checksum(fingerprint, key, logp):
                        raise BrokenCacheError(f"{self.path}: a log-prob is not the one that was written.")
                    found[key] = logp
        return found

    def write(self, fingerprint: bytes, logps: Mapping[bytes, float], *, name: str, description: str) -> None:
        """Add log-probs; what is no number is left out.

        Args:
            fingerprint: Of the reference.
            logps: By completion key.
            name, description: Of the reference, for people.
        Raises:
            CacheError: the file cannot be written.
        """
        added = datetime.now(UTC).strftime("%Y-%m-%d %H:%M")
        with self._translated(), self._transaction():
            self._connection.execute(
                "INSERT OR IGNORE INTO models (fingerprint, name, description, added) VALUES (?, ?, ?, ?)",
                (fingerprint, name, description, added),
            )
            (model,) = self._connection.execute(
                "SELECT id FROM models WHERE fingerprint = ?", (fingerprint,)
            ).fetchone()
            self._connection.executemany(
                "INSERT OR REPLACE INTO logps VALUES (?, ?, ?, ?)",
                (
                    (model, key, logp, _checksum(fingerprint, key, logp))
                    for key, logp in logps.items()
                    if isfinite(logp)
                ),
            )

    def models(self) -> list[StoredModel]:
        """What is there of each reference, in the order in which they came.

        Raises:
            CacheError: the file cannot be read.
        """
        with self._translated():
            rows = self._connection.execute(
                "SELECT name, description, added, count(completion) FROM models LEFT JOIN logps ON model = id "
                "GROUP BY id ORDER BY id"
            )
            return [StoredModel(*row) for row in rows]

    def close(self) -> None:
        """Let go of the file. Nothing is lost if this never happens."""
        with self._translated():
            self._connection.close()

    def _check_or_create(self) -> None:
        if self._number_of("SELECT count(*) FROM sqlite_schema") == 0:
            self._create()
        foreign = self._number_of("PRAGMA application_id") != _APPLICATION_ID
        tables = {text for (text,) in self._connection.execute("SELECT sql FROM sqlite_schema WHERE type = 'table'")}
        if foreign or tables != set(_TABLES) or self._number_of("PRAGMA user_version") != _VERSION:
            what = "of another program" if foreign else "of another version of preftune"
            raise BrokenCacheError(f"{self.path}: is a database {what}.")
        (finding,) = self._connection.execute("PRAGMA quick_check(1)").fetchone()
        if finding != "ok":
            raise BrokenCacheError(f"{self.path}: is damaged ({finding}).")

    def _create(self) -> None:
        with self._transaction():
            # Another process may have done it in the meantime, and a foreign file may be marked but hold no table.
            is_new = self._number_of("SELECT count(*) FROM sqlite_schema") == 0
            if is_new and self._number_of("PRAGMA application_id") == 0:
                for table in _TABLES:
                    self._connection.execute(table)
                self._connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                self._connection.execute(f"PRAGMA user_version = {_VERSION}")

    def _number_of(self, query: str) -> int:
        (number,) = self._connection.execute(query).fetchone()
        return int(number)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """What SQLite and the file system say, in our own errors."""
        try:
            yield
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGE:  # Python's own complaints have no code.
                raise BrokenCacheError(f"{self.path}: is damaged ({error}).") from error
            raise CacheError(f"{self.path}: {error}.") from error
        except CacheError:
            raise
        except OSError as error:
            raise CacheError(f"{self.path}: {error.strerror or error}.") from error


def files_of(path: Path) -> list[Path]:
    """The files that are there of the database at `path`: itself and what SQLite keeps beside it."""
    return [file for ending in _COMPANIONS if (file := path.with_name(path.name + ending)).exists()]


def broken_files_of(path: Path) -> list[Path]:
    """The files that were set aside from `path`."""
    return sorted(path.parent.glob(f"{path.name}{_BROKEN}*"))


def set_aside(path: Path) -> Path:
    """Rename the database at `path`, so that a new one can take its place and someone can have a look at it.

    Returns:
        Its new path.
    Raises:
        CacheError: it cannot be renamed.
    """
    aside = path.with_name(f"{path.name}{_BROKEN}{datetime.now(UTC):%Y%m%d-%H%M%S-%f}")
    try:
        for file in files_of(path):
            file.rename(aside.with_name(aside.name + file.name.removeprefix(path.name)))
    except OSError as error:
        raise CacheError(f"{path}: cannot be set aside ({error.strerror}).") from error
    return aside


def _chunks(keys: Iterable[bytes], size: int) -> Iterator[list[bytes]]:
    left = iter(keys)
    while chunk := list(islice(left, size)):
        yield chunk


def _checksum(fingerprint: bytes, key: bytes, logp: float) -> int:
    """Changes with every bit of what it covers."""
    return zlib.crc32(fingerprint + key + struct.pack("<d", logp))
