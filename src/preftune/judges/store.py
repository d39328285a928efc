"""The file that keeps what was paid for: verdicts of judges, and the samples that they are about."""

import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

from preftune.errors import BrokenCacheError, CacheError
from preftune.judges.judge import Question, Verdict
from preftune.model.reference.store import store_path

__all__ = ["EvaluationStore", "evaluation_path"]

_FILE = "evaluation.sqlite"
_APPLICATION_ID = 0x70726665
"""`prfe`, in the file's header: whose database it is."""
_TABLES = (
    "CREATE TABLE IF NOT EXISTS verdicts (judge TEXT NOT NULL, question BLOB NOT NULL, choice TEXT NOT NULL, "
    "answer TEXT NOT NULL, scores TEXT, added TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP, PRIMARY KEY (judge, question))",
    "CREATE TABLE IF NOT EXISTS samples (key BLOB PRIMARY KEY, samples TEXT NOT NULL, "
    "added TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP)",
)
_WAIT_SECONDS = 30.0
_KEYS_PER_QUERY = 500
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def evaluation_path() -> Path:
    """The file of this user, beside the reference log-probs. It need not be there."""
    return store_path().with_name(_FILE)


@final
class EvaluationStore:
    """Verdicts by judge and question, and samples by what they were drawn with.

    Every call that writes commits before it returns, so that a kill loses what was not handed over yet and nothing
    else; a power cut may lose the last moments. Threads may share one; several processes may have the file open. It is
    not deleted with the reference log-probs (`preftune cache clear`): verdicts cost money.

    Args:
        path: The file; made with its folders if it is not there.
    Raises:
        BrokenCacheError: the file is damaged or of another program.
        CacheError: it cannot be opened or made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        with self._translated():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                path, timeout=_WAIT_SECONDS, isolation_level=None, check_same_thread=False
            )
        try:
            with self._translated():
                self._check_or_create()
        except CacheError:
            self._connection.close()
            raise

    def verdicts(self, judge: str, questions: Sequence[Question]) -> dict[Question, Verdict]:
        """The verdicts that are there, of the questions asked for.

        Args:
            judge: What verdicts depend on beside the question.
            questions: Any number.
        Raises:
            CacheError: the file cannot be read.
        """
        by_key = {question.key: question for question in questions}
        keys = list(by_key)
        found: dict[Question, Verdict] = {}
        for start in range(0, len(keys), _KEYS_PER_QUERY):
            chunk = keys[start : start + _KEYS_PER_QUERY]
            marks = ", ".join("?" * len(chunk))
            query = f"SELECT question, choice, answer, scores FROM verdicts WHERE judge = ? AND question IN ({marks})"
            for key, choice, answer, scores in self._execute(query, (judge, *chunk)):
                first_and_second = tuple(json.loads(scores)) if scores is not None else None
                found[by_key[key]] = Verdict(choice, answer, first_and_second)
        return found

    def keep_verdict(self, judge: str, question: Question, verdict: Verdict) -> None:
        """Add a verdict.

        Raises:
            CacheError: the file cannot be written.
        """
        scores = json.dumps(verdict.scores) if verdict.scores is not None else None
        self._execute(
            "INSERT OR REPLACE INTO verdicts (judge, question, choice, answer, scores) VALUES (?, ?, ?, ?, ?)",
            (judge, question.key, verdict.choice, verdict.answer, scores),
        )

    def samples(self, key: bytes) -> list[list[Mapping[str, Any]]] | None:
        """The samples that were drawn with what `key` is a digest of, or None.

        Raises:
            CacheError: the file cannot be read.
        """
        rows = self._execute("SELECT samples FROM samples WHERE key = ?", (key,))
        return json.loads(rows[0][0]) if rows else None

    def keep_samples(self, key: bytes, samples: Sequence[Sequence[Mapping[str, Any]]]) -> None:
        """Add samples, by prompt.

        Raises:
            CacheError: the file cannot be written.
        """
        self._execute("INSERT OR REPLACE INTO samples (key, samples) VALUES (?, ?)", (key, json.dumps(samples)))

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def _execute(self, query: str, values: tuple[Any, ...]) -> list[Any]:
        with self._lock, self._translated():
            return self._connection.execute(query, values).fetchall()

    def _check_or_create(self) -> None:
        (found,) = self._connection.execute("PRAGMA application_id").fetchone()
        (num_tables,) = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if found != _APPLICATION_ID and num_tables:
            raise BrokenCacheError(f"{self.path}: is a database of another program. Move it away.")
        self._connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        for table in _TABLES:
            self._connection.execute(table)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """What SQLite and the file system say, in our own errors."""
        try:
            yield
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGE:
                raise BrokenCacheError(
                    f"{self.path}: is damaged ({error}). It holds verdicts that were paid for, so it is not touched. "
                    "Restore or move it, or name another folder with PREFTUNE_CACHE."
                ) from error
            raise CacheError(f"{self.path}: {error}. Make room, or name another folder with PREFTUNE_CACHE.") from error
        except CacheError:
            raise
        except OSError as error:
            raise CacheError(
                f"{self.path}: {error.strerror or error}. Name another folder with PREFTUNE_CACHE."
            ) from error
