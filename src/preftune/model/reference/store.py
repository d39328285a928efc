"""The cache of reference log-probs: an SQLite file, checked when it is opened."""

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from math import fsum, isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, final

import numpy as np
import numpy.typing as npt
import platformdirs

from preftune.errors import BrokenCacheError, CacheError
from preftune.files.sqlite import SqliteFile

if TYPE_CHECKING:  # Imports transformers, which `preftune cache` need not wait for.
    from preftune.model.reference.fingerprint import Fingerprint

FOLDER_VARIABLE = "PREFTUNE_CACHE"
"""Environment variable that names another folder than the user's cache."""
_FILE = "reference-logps.sqlite"
_APPLICATION_ID = 0x70726674
"""`prft` in ASCII."""
_VERSION = 1
"""Version of the tables. There are no migrations: values are cheap to compute again, and a wrong one is costly."""
_TABLES = (
    "CREATE TABLE models (id INTEGER PRIMARY KEY, fingerprint BLOB NOT NULL UNIQUE, name TEXT NOT NULL, "
    "description TEXT NOT NULL, added TEXT NOT NULL)",
    "CREATE TABLE logps (model INTEGER NOT NULL, completion BLOB NOT NULL, "
    "logp REAL NOT NULL CHECK (typeof(logp) = 'real'), PRIMARY KEY (model, completion)) WITHOUT ROWID",
    # With row ids, because rows are long.
    "CREATE TABLE token_logps (model INTEGER NOT NULL, completion BLOB NOT NULL, "
    "bytes_per_value INTEGER NOT NULL CHECK (bytes_per_value IN (4, 8)), "
    "logps BLOB NOT NULL CHECK (typeof(logps) = 'blob' AND length(logps) % bytes_per_value = 0), "
    "PRIMARY KEY (model, completion))",
)
_VALUE_TYPES = {4: "<f4", 8: "<f8"}
"""Number of bytes to the type of values in the file: little-endian on every machine."""
_COMPANIONS = ("", "-wal", "-shm")
_BROKEN = ".broken-"

TokenArray = npt.NDArray[np.floating[Any]]
"""Log-prob of each token of one completion, in float32 or float64, as computed. Shape: (token,). Unit: nats."""
Result = TypeVar("Result")


def store_path() -> Path:
    """Path of this user's reference log-probs. The file may not exist yet."""
    folder = os.environ.get(FOLDER_VARIABLE)
    return (Path(folder).expanduser() if folder else platformdirs.user_cache_path("preftune", appauthor=False)) / _FILE


def sum_of(logps: TokenArray) -> float:
    """Log-prob of the completion, rounded once.

    >>> sum_of(np.array([-0.5, -0.25], dtype=np.float32))
    -0.75
    """
    return fsum(logps.tolist())


@dataclass(frozen=True, slots=True)
class StoredModel:
    """Contents of the file for one reference.

    Args:
        name, description: See `Fingerprint`.
        added: First use, in UTC, such as `2026-01-31 12:00`.
        num_logps: Completions with a log-prob.
        num_token_logps: Completions with log-probs per token.
    """

    name: str
    description: str
    added: str
    num_logps: int
    num_token_logps: int = 0


@final
class LogpStore:
    """Log-probs by model and completion key, in one file. See `SqliteFile` for commits, processes and threads.

    Args:
        path: The file; created with its folders if missing.
    Raises:
        BrokenCacheError: the file is damaged, belongs to another program or has another version of the tables.
        CacheError: the file cannot be opened or created.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = SqliteFile(path, application_id=_APPLICATION_ID, version=_VERSION, tables=_TABLES)

    def read(self, model: "Fingerprint", keys: Iterable[bytes]) -> dict[bytes, float]:
        """The requested log-probs that are stored, as such or as the sum of those per token.

        Raises:
            CacheError: the file cannot be read.
        """
        wanted = list(keys)
        found: dict[bytes, float] = dict(self._select("logps", "logp", model, wanted))
        by_token = self.read_tokens(model, (key for key in wanted if key not in found))
        return found | {key: sum_of(logps) for key, logps in by_token.items()}

    def write(self, model: "Fingerprint", logps: Mapping[bytes, float]) -> None:
        """Store log-probs by completion key; those that are NaN or infinite are left out.

        Raises:
            CacheError: the file cannot be written.
        """
        with self._file.transaction():
            number = self._number_of(model)
            rows = ((number, key, logp) for key, logp in logps.items() if isfinite(logp))
            self._file.execute_many("INSERT OR REPLACE INTO logps VALUES (?, ?, ?)", rows)

    def read_tokens(self, model: "Fingerprint", keys: Iterable[bytes]) -> dict[bytes, TokenArray]:
        """The requested log-probs per token that are stored, in the type in which they were written.

        Raises:
            CacheError: the file cannot be read.
        """
        rows = self._select("token_logps", "bytes_per_value, logps", model, keys)
        # Copies in the byte order of this machine, which may be written to.
        return {key: np.frombuffer(blob, _VALUE_TYPES[width]).astype(f"f{width}") for key, width, blob in rows}

    def write_tokens(self, model: "Fingerprint", logps: Mapping[bytes, TokenArray]) -> None:
        """Store log-probs per token in float32 or float64; completions with NaN or infinity are left out.

        Raises:
            CacheError: the file cannot be written.
        """
        with self._file.transaction():
            number = self._number_of(model)
            rows = (
                (number, key, values.itemsize, values.astype(_VALUE_TYPES[values.itemsize], copy=False).tobytes())
                for key, values in logps.items()
                if np.isfinite(values).all()
            )
            self._file.execute_many("INSERT OR REPLACE INTO token_logps VALUES (?, ?, ?, ?)", rows)

    def models(self) -> list[StoredModel]:
        """Contents by reference, in order of first use.

        Raises:
            CacheError: the file cannot be read.
        """
        rows = self._file.execute(
            "SELECT name, description, added, (SELECT count(*) FROM logps WHERE model = id), "
            "(SELECT count(*) FROM token_logps WHERE model = id) FROM models ORDER BY id"
        )
        return [StoredModel(*row) for row in rows]

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _select(
        self, table: str, columns: str, model: "Fingerprint", keys: Iterable[bytes]
    ) -> Iterable[tuple[Any, ...]]:
        """Key and columns of the completions that are stored."""
        query = (
            f"SELECT completion, {columns} FROM {table} "
            "WHERE model = (SELECT id FROM models WHERE fingerprint = ?) AND completion IN"
        )
        return self._file.select(query, model.digest, keys)

    def _number_of(self, model: "Fingerprint") -> int:
        """Row of a model, added if missing."""
        added = datetime.now(UTC).strftime("%Y-%m-%d %H:%M")
        self._file.execute(
            "INSERT OR IGNORE INTO models (fingerprint, name, description, added) VALUES (?, ?, ?, ?)",
            (model.digest, model.name, model.description, added),
        )
        ((number,),) = self._file.execute("SELECT id FROM models WHERE fingerprint = ?", (model.digest,))
        return int(number)


@final
class OptionalStore:
    """A `LogpStore` whose failures never end a run: the cache saves work, and changes no result.

    A broken file is set aside and replaced. If the file cannot be used at all (disk full, locked, read-only), the run
    continues without it.

    Args:
        path: The file.
        say: Receives a line about each failure.
    """

    def __init__(self, path: Path, say: Callable[[str], None]) -> None:
        self._path = path
        self._say = say
        self._store: LogpStore | None = None
        self._is_given_up = False

    def attempt(self, work: Callable[[LogpStore], Result], *, otherwise: Result) -> Result:
        """The result of `work`, or `otherwise` if the store cannot be used."""
        try:
            try:
                return otherwise if self._is_given_up else work(self._opened())
            except BrokenCacheError as error:
                self._replace(error)
                return work(self._opened())
        except CacheError as error:
            self._give_up(error)
            return otherwise

    def close(self) -> None:
        """Close the file."""
        if self._store is not None:
            with suppress(CacheError):
                self._store.close()
            self._store = None

    def _opened(self) -> LogpStore:
        if self._store is None:
            self._store = LogpStore(self._path)
        return self._store

    def _replace(self, error: BrokenCacheError) -> None:
        self.close()
        aside = set_aside(self._path)
        self._say(f"reference cache: {error} It was renamed to {aside.name}, and a new file is created.")

    def _give_up(self, error: CacheError) -> None:
        self._is_given_up = True
        self._say(
            f"reference cache: {error} Reference log-probs are computed for this run and not stored. Free disk space, "
            "name another folder with PREFTUNE_CACHE, or turn the cache off with --no-reference-cache."
        )


def files_of(path: Path) -> list[Path]:
    """Existing files of the database at `path`: itself, and the log and index that SQLite keeps beside it."""
    return [file for ending in _COMPANIONS if (file := path.with_name(path.name + ending)).exists()]


def broken_files_of(path: Path) -> list[Path]:
    """Files that were set aside from `path`."""
    return sorted(path.parent.glob(f"{path.name}{_BROKEN}*"))


def set_aside(path: Path) -> Path:
    """Rename the database at `path`, so that a new one can replace it and the old one can be examined.

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
        raise CacheError(f"{path}: cannot be renamed ({error.strerror}).") from error
    return aside
