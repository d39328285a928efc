"""The cache of reference log-probs: an SQLite file, checked when it is opened."""

import os
import sqlite3
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from math import fsum, isfinite
from pathlib import Path
from typing import Any, TypeVar, final

import numpy as np
import numpy.typing as npt
import platformdirs

from preftune.errors import BrokenCacheError, CacheError
from preftune.model.reference.fingerprint import Fingerprint

__all__ = [
    "FOLDER_VARIABLE",
    "LogpStore",
    "OptionalStore",
    "StoredModel",
    "TokenArray",
    "array_of",
    "blob_of",
    "broken_files_of",
    "files_of",
    "set_aside",
    "store_path",
    "sum_of",
]

FOLDER_VARIABLE = "PREFTUNE_CACHE"
"""Environment variable that names another folder than the user's cache."""
_FILE = "reference-logps.sqlite"


def store_path() -> Path:
    """The file of reference log-probs of this user. It need not be there."""
    folder = os.environ.get(FOLDER_VARIABLE)
    return (Path(folder).expanduser() if folder else platformdirs.user_cache_path("preftune", appauthor=False)) / _FILE


TokenArray = npt.NDArray[np.floating[Any]]
"""Log-prob of each token of one completion, in float32 or float64, as computed. Shape: (token,). Unit: nats."""

_TYPES = {4: "<f4", 8: "<f8"}
"""Bytes of a value to how it stands in the file."""


def blob_of(logps: TokenArray) -> tuple[int, bytes]:
    """Bytes of a value, and the values as little-endian numbers.

    >>> blob_of(np.array([-1.0], dtype=np.float32))
    (4, b'\\x00\\x00\\x80\\xbf')
    """
    return logps.itemsize, logps.astype(_TYPES[logps.itemsize], copy=False).tobytes()


def array_of(bytes_per_value: int, blob: bytes) -> TokenArray:
    """The opposite of `blob_of`.

    >>> array_of(*blob_of(np.array([-1.0], dtype=np.float32)))
    array([-1.], dtype=float32)
    """
    # A copy, in the byte order of this machine, that may be written to.
    little_endian = np.frombuffer(blob, _TYPES[bytes_per_value])
    return little_endian.astype(little_endian.dtype.newbyteorder("="))


def sum_of(logps: TokenArray) -> float:
    """Log-prob of the completion, rounded once.

    >>> sum_of(np.array([-0.5, -0.25], dtype=np.float32))
    -0.75
    """
    return fsum(logps.tolist())


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


Result = TypeVar("Result")


@final
class OptionalStore:
    """A `LogpStore` that never fails: a broken file is set aside for a new one, and a run goes on without any.

    Args:
        path: The file.
        say: Takes a line on what is wrong, at most one for each thing.
    """

    def __init__(self, path: Path, say: Callable[[str], None]) -> None:
        self._path = path
        self._say = say
        self._store: LogpStore | None = None
        self._is_given_up = False

    def read(self, model: Fingerprint, keys: Iterable[bytes]) -> dict[bytes, float]:
        """The log-probs that are kept, of those asked for."""
        wanted = list(keys)
        return self._try(lambda store: store.read(model.digest, wanted), otherwise={})

    def write(self, model: Fingerprint, logps: Mapping[bytes, float]) -> None:
        """Keep log-probs, if that is possible."""
        self._try(
            lambda store: store.write(model.digest, logps, name=model.name, description=model.description),
            otherwise=None,
        )

    def read_tokens(self, model: Fingerprint, keys: Iterable[bytes]) -> dict[bytes, TokenArray]:
        """The log-probs per token that are kept, of those asked for."""
        wanted = list(keys)
        return self._try(lambda store: store.read_tokens(model.digest, wanted), otherwise={})

    def write_tokens(self, model: Fingerprint, logps: Mapping[bytes, TokenArray]) -> None:
        """Keep log-probs per token, if that is possible."""
        self._try(
            lambda store: store.write_tokens(model.digest, logps, name=model.name, description=model.description),
            otherwise=None,
        )

    def close(self) -> None:
        """Let go of the file."""
        if self._store is not None:
            self._store.close()
            self._store = None

    def _try(self, work: Callable[[LogpStore], Result], otherwise: Result) -> Result:
        try:
            try:
                return otherwise if self._is_given_up else work(self._opened())
            except BrokenCacheError as error:
                self._begin_anew(error)
                return work(self._opened())
        except CacheError as error:
            self._give_up(error)
            return otherwise

    def _opened(self) -> LogpStore:
        if self._store is None:
            self._store = LogpStore(self._path)
        return self._store

    def _begin_anew(self, error: BrokenCacheError) -> None:
        self.close()
        aside = set_aside(self._path)
        self._say(f"reference cache: {error} It was set aside as {aside.name}, and a new one is begun.")

    def _give_up(self, error: CacheError) -> None:
        self._is_given_up = True
        self._say(
            f"reference cache: {error} Reference log-probs are computed for this run alone and not kept. Make room or "
            "name another folder with PREFTUNE_CACHE, or leave the cache out with --no-reference-cache."
        )
