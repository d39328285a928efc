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
from typing import Any, final

import numpy as np

from preftune.errors import BrokenCacheError, CacheError
from preftune.model.reference.token_array import TokenArray, array_of, blob_of, sum_of

__all__ = ["LogpStore", "StoredModel", "broken_files_of", "files_of", "set_aside"]

_APPLICATION_ID = 0x70726674
"""`prft`, in the file's header: whose database it is."""
_VERSION = 1
"""Of the tables. Another one is another file: values are cheap to compute again, and dear to get wrong. A table that is
added leaves what was there as it is, and the version too."""
_FIRST_TABLES = (
    "CREATE TABLE models (id INTEGER PRIMARY KEY, fingerprint BLOB NOT NULL UNIQUE, name TEXT NOT NULL, "
    "description TEXT NOT NULL, added TEXT NOT NULL)",
    "CREATE TABLE logps (model INTEGER NOT NULL, completion BLOB NOT NULL, logp REAL NOT NULL, "
    "checksum INTEGER NOT NULL, PRIMARY KEY (model, completion)) WITHOUT ROWID",
)
_ADDED_TABLES = (
    # With row ids, as the rows are long.
    "CREATE TABLE token_logps (model INTEGER NOT NULL, completion BLOB NOT NULL, bytes_per_value INTEGER NOT NULL, "
    "logps BLOB NOT NULL, checksum INTEGER NOT NULL, PRIMARY KEY (model, completion))",
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
        num_token_logps: Completions with a log-prob per token.
    """

    name: str
    description: str
    added: str
    num_logps: int
    num_token_logps: int = 0


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
        """The log-probs that are there, of those asked for: those written as such, and the sums of those per token.

        Raises:
            BrokenCacheError: a value is not the one that was written.
            CacheError: the file cannot be read.
        """
        wanted = list(keys)
        found: dict[bytes, float] = {}
        for key, logp, checksum in self._rows("logps", "logp", fingerprint, wanted):
            if not isinstance(logp, float) or checksum != _checksum(fingerprint, key, logp):
                raise self._damaged()
            found[key] = logp
        by_token = self.read_tokens(fingerprint, (key for key in wanted if key not in found))
        return found | {key: sum_of(logps) for key, logps in by_token.items()}

    def write(self, fingerprint: bytes, logps: Mapping[bytes, float], *, name: str, description: str) -> None:
        """Add log-probs; what is no number is left out.

        Args:
            fingerprint: Of the reference.
            logps: By completion key.
            name, description: Of the reference, for people.
        Raises:
            CacheError: the file cannot be written.
        """
        with self._translated(), self._transaction():
            model = self._model_id(fingerprint, name, description)
            self._connection.executemany(
                "INSERT OR REPLACE INTO logps VALUES (?, ?, ?, ?)",
                (
                    (model, key, logp, _checksum(fingerprint, key, logp))
                    for key, logp in logps.items()
                    if isfinite(logp)
                ),
            )

    def read_tokens(self, fingerprint: bytes, keys: Iterable[bytes]) -> dict[bytes, TokenArray]:
        """The log-probs per token that are there, of the completions asked for, in the type that was written.

        Raises:
            BrokenCacheError: a value is not the one that was written.
            CacheError: the file cannot be read.
        """
        found: dict[bytes, TokenArray] = {}
        for key, width, blob, checksum in self._rows("token_logps", "bytes_per_value, logps", fingerprint, keys):
            if not isinstance(blob, bytes) or checksum != _token_checksum(fingerprint, key, width, blob):
                raise self._damaged()
            found[key] = array_of(width, blob)
        return found

    def write_tokens(
        self, fingerprint: bytes, logps: Mapping[bytes, TokenArray], *, name: str, description: str
    ) -> None:
        """Add log-probs per token; completions with one that is no number are left out.

        Args:
            fingerprint: Of the reference.
            logps: By completion key, in float32 or float64, which is kept.
            name, description: Of the reference, for people.
        Raises:
            CacheError: the file cannot be written.
        """
        with self._translated(), self._transaction():
            model = self._model_id(fingerprint, name, description)
            blobs = ((key, *blob_of(values)) for key, values in logps.items() if np.isfinite(values).all())
            self._connection.executemany(
                "INSERT OR REPLACE INTO token_logps VALUES (?, ?, ?, ?, ?)",
                (
                    (model, key, width, blob, _token_checksum(fingerprint, key, width, blob))
                    for key, width, blob in blobs
                ),
            )

    def models(self) -> list[StoredModel]:
        """What is there of each reference, in the order in which they came.

        Raises:
            CacheError: the file cannot be read.
        """
        with self._translated():
            rows = self._connection.execute(
                "SELECT name, description, added, (SELECT count(*) FROM logps WHERE model = id), "
                "(SELECT count(*) FROM token_logps WHERE model = id) FROM models ORDER BY id"
            )
            return [StoredModel(*row) for row in rows]

    def close(self) -> None:
        """Let go of the file. Nothing is lost if this never happens."""
        with self._translated():
            self._connection.close()

    def _rows(self, table: str, columns: str, fingerprint: bytes, keys: Iterable[bytes]) -> Iterator[tuple[Any, ...]]:
        """Key, columns and checksum of the completions that are there.

        Raises:
            BrokenCacheError: a key is not the one that was written.
            CacheError: the file cannot be read.
        """
        with self._translated():
            for chunk in _chunks(keys, _KEYS_PER_QUERY):
                rows = self._connection.execute(
                    f"SELECT completion, {columns}, checksum FROM {table} JOIN models ON model = id "
                    f"WHERE fingerprint = ? AND completion IN ({', '.join('?' * len(chunk))})",
                    (fingerprint, *chunk),
                )
                for row in rows:
                    if not isinstance(row[0], bytes):  # Found by its index, but not what the index says.
                        raise self._damaged()
                    yield row

    def _damaged(self) -> BrokenCacheError:
        return BrokenCacheError(f"{self.path}: a log-prob is not the one that was written.")

    def _model_id(self, fingerprint: bytes, name: str, description: str) -> int:
        """Row of a model, made if it is not there."""
        added = datetime.now(UTC).strftime("%Y-%m-%d %H:%M")
        self._connection.execute(
            "INSERT OR IGNORE INTO models (fingerprint, name, description, added) VALUES (?, ?, ?, ?)",
            (fingerprint, name, description, added),
        )
        (model,) = self._connection.execute("SELECT id FROM models WHERE fingerprint = ?", (fingerprint,)).fetchone()
        return int(model)

    def _check_or_create(self) -> None:
        if self._number_of("SELECT count(*) FROM sqlite_schema") == 0:
            self._create()
        foreign = self._number_of("PRAGMA application_id") != _APPLICATION_ID
        tables = self._tables()
        known = tables in (set(_FIRST_TABLES), {*_FIRST_TABLES, *_ADDED_TABLES})
        if foreign or not known or self._number_of("PRAGMA user_version") != _VERSION:
            what = "of another program" if foreign else "of another version of preftune"
            raise BrokenCacheError(f"{self.path}: is a database {what}.")
        (finding,) = self._connection.execute("PRAGMA quick_check(1)").fetchone()
        if finding != "ok":
            raise BrokenCacheError(f"{self.path}: is damaged ({finding}).")
        if tables == set(_FIRST_TABLES):
            self._add_tables()

    def _create(self) -> None:
        with self._transaction():
            # Another process may have done it in the meantime, and a foreign file may be marked but hold no table.
            is_new = self._number_of("SELECT count(*) FROM sqlite_schema") == 0
            if is_new and self._number_of("PRAGMA application_id") == 0:
                for table in (*_FIRST_TABLES, *_ADDED_TABLES):
                    self._connection.execute(table)
                self._connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                self._connection.execute(f"PRAGMA user_version = {_VERSION}")

    def _add_tables(self) -> None:
        """To a file of before there were values per token."""
        with self._transaction():
            if self._tables() == set(_FIRST_TABLES):  # Another process may have done it in the meantime.
                for table in _ADDED_TABLES:
                    self._connection.execute(table)

    def _tables(self) -> set[str]:
        """How the tables were made."""
        return {text for (text,) in self._connection.execute("SELECT sql FROM sqlite_schema WHERE type = 'table'")}

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


def _token_checksum(fingerprint: bytes, key: bytes, bytes_per_value: object, blob: bytes) -> int:
    """The same for log-probs per token."""
    return zlib.crc32(fingerprint + key + str(bytes_per_value).encode() + blob)
