"""SQLite files that several processes share: marked as ours, checked when opened, errors translated."""

import sqlite3
import threading
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, final

from preftune.errors import BrokenCacheError, CacheError

_WAIT_SECONDS = 30.0
"""Time to wait while another process writes."""
_KEYS_PER_QUERY = 500
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


@final
class SqliteFile:
    """A database in one file, with a fixed set of tables.

    Every write commits before it returns: a kill loses only what was not handed over yet, a power cut may lose the last
    moments. Readers of other processes see whole commits, and writers wait for each other. Threads may share an object.

    Args:
        path: The file; created with its folders if missing.
        application_id: Number in the file's header that says whose database it is.
        tables: `CREATE TABLE` statements. A file with other tables is of another version.
        advice: Ends the message of every error.
        if_damaged: Ends the message about a damaged file; `advice` if None.
    Raises:
        BrokenCacheError: the file is damaged, belongs to another program or has another version of the tables.
        CacheError: the file cannot be opened or created.
    """

    def __init__(
        self,
        path: Path,
        *,
        application_id: int,
        version: int,
        tables: Sequence[str],
        advice: str = "",
        if_damaged: str | None = None,
    ) -> None:
        self.path = path
        self._mark = (application_id, version)
        self._create_statements = tuple(tables)
        self._advice = f" {advice}" if advice else ""
        self._if_damaged = self._advice if if_damaged is None else f" {if_damaged}"
        self._lock = threading.RLock()
        with self._translated():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                path, timeout=_WAIT_SECONDS, isolation_level=None, check_same_thread=False
            )
        try:
            with self._translated():
                self._create_if_empty()
                self._check()
                self._connection.execute("PRAGMA journal_mode = WAL")
                self._connection.execute("PRAGMA synchronous = NORMAL")
        except CacheError:
            self._connection.close()
            raise
        # Python 3.13 warns of connections that are collected open.
        weakref.finalize(self, self._connection.close).atexit = False

    def execute(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows.

        Raises:
            BrokenCacheError: the file is damaged.
            CacheError: the file cannot be read or written.
        """
        with self._lock, self._translated():
            return self._connection.execute(query, values).fetchall()

    def execute_many(self, query: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run one statement for each row of values. Errors are those of `execute`."""
        with self._lock, self._translated():
            self._connection.executemany(query, rows)

    def select(self, query: str, value: object, keys: Iterable[bytes]) -> Iterator[tuple[Any, ...]]:
        """Run a query for many keys. Errors are those of `execute`.

        Args:
            query: Ends in `IN`; the keys are appended.
            value: Value of the placeholder before `IN`.
        """
        left = iter(keys)
        while chunk := list(islice(left, _KEYS_PER_QUERY)):
            yield from self.execute(f"{query} ({', '.join('?' * len(chunk))})", (value, *chunk))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit all statements inside the context together, or none of them if one fails."""
        with self._lock, self._translated():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close the file. Nothing is lost if this is never called."""
        with self._translated():
            self._connection.close()

    def _create_if_empty(self) -> None:
        if self._number_of("SELECT count(*) FROM sqlite_schema") > 0:
            return
        with self.transaction():
            # Another process may have created the tables meanwhile; a foreign file may have a mark but no table.
            is_new = self._number_of("SELECT count(*) FROM sqlite_schema") == 0
            if is_new and self._number_of("PRAGMA application_id") == 0:
                for statement in self._create_statements:
                    self._connection.execute(statement)
                application_id, version = self._mark
                self._connection.execute(f"PRAGMA application_id = {application_id}")
                self._connection.execute(f"PRAGMA user_version = {version}")

    def _check(self) -> None:
        application_id, version = self._mark
        is_foreign = self._number_of("PRAGMA application_id") != application_id
        rows = self._connection.execute("SELECT sql FROM sqlite_schema WHERE type = 'table'")
        has_our_tables = {text for (text,) in rows} == set(self._create_statements)
        if is_foreign or not has_our_tables or self._number_of("PRAGMA user_version") != version:
            owner = "another program" if is_foreign else "another version of preftune"
            raise BrokenCacheError(f"{self.path}: is a database of {owner}.{self._advice}")
        # Finds damaged pages, and values that violate NOT NULL or CHECK.
        (finding,) = self._connection.execute("PRAGMA quick_check(1)").fetchone()
        if finding != "ok":
            raise self._damaged(finding)

    def _number_of(self, query: str) -> int:
        (number,) = self._connection.execute(query).fetchone()
        return int(number)

    def _damaged(self, finding: object) -> BrokenCacheError:
        return BrokenCacheError(f"{self.path}: is damaged ({finding}).{self._if_damaged}")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Errors of SQLite and of the file system as ours."""
        try:
            yield
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGE:  # Python's own complaints have no code.
                raise self._damaged(error) from error
            raise CacheError(f"{self.path}: {error}.{self._advice}") from error
        except CacheError:
            raise
        except OSError as error:
            raise CacheError(f"{self.path}: {error.strerror or error}.{self._advice}") from error
