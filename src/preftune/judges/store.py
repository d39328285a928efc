"""The file that stores what was paid for: verdicts of judges, and the samples that they compare."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

from preftune.files.sqlite import SqliteFile
from preftune.judges.judge import Question, Verdict
from preftune.model.reference.store import store_path

_FILE = "evaluation.sqlite"
_APPLICATION_ID = 0x70726665
"""`prfe` in ASCII."""
_VERSION = 0
_TABLES = (
    "CREATE TABLE verdicts (judge TEXT NOT NULL, question BLOB NOT NULL, choice TEXT NOT NULL, "
    "answer TEXT NOT NULL, scores TEXT, added TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP, PRIMARY KEY (judge, question))",
    "CREATE TABLE samples (key BLOB PRIMARY KEY, samples TEXT NOT NULL, added TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP)",
)


def evaluation_path() -> Path:
    """Path of this user's verdicts and samples, beside the reference log-probs. The file may not exist yet."""
    return store_path().with_name(_FILE)


@final
class EvaluationStore:
    """Verdicts by judge and question, and samples by a digest of the settings that they were drawn with.

    See `SqliteFile` for commits, processes and threads. `preftune cache clear`, which deletes the reference log-probs,
    leaves it alone: verdicts cost money.

    Args:
        path: The file; created with its folders if missing.
    Raises:
        BrokenCacheError: the file is damaged or belongs to another program.
        CacheError: the file cannot be opened or created.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = SqliteFile(
            path,
            application_id=_APPLICATION_ID,
            version=_VERSION,
            tables=_TABLES,
            advice="Free disk space or move the file, or name another folder with PREFTUNE_CACHE.",
            if_damaged="It holds verdicts that were paid for, so it is not touched. Restore or move it, or name "
            "another folder with PREFTUNE_CACHE.",
        )

    def verdicts(self, judge: str, questions: Sequence[Question]) -> dict[Question, Verdict]:
        """The stored verdicts on some questions.

        Args:
            judge: Name of the judge, with all that its verdicts depend on.
        Raises:
            CacheError: the file cannot be read.
        """
        by_key = {question.key: question for question in questions}
        query = "SELECT question, choice, answer, scores FROM verdicts WHERE judge = ? AND question IN"
        return {
            by_key[key]: Verdict(choice, answer, tuple(json.loads(scores)) if scores is not None else None)
            for key, choice, answer, scores in self._file.select(query, judge, by_key)
        }

    def keep_verdict(self, judge: str, question: Question, verdict: Verdict) -> None:
        """Store a verdict.

        Raises:
            CacheError: the file cannot be written.
        """
        scores = json.dumps(verdict.scores) if verdict.scores is not None else None
        self._file.execute(
            "INSERT OR REPLACE INTO verdicts (judge, question, choice, answer, scores) VALUES (?, ?, ?, ?, ?)",
            (judge, question.key, verdict.choice, verdict.answer, scores),
        )

    def samples(self, key: bytes) -> list[list[Mapping[str, Any]]] | None:
        """The samples stored under `key`, or None.

        Raises:
            CacheError: the file cannot be read.
        """
        rows = self._file.execute("SELECT samples FROM samples WHERE key = ?", (key,))
        return json.loads(rows[0][0]) if rows else None

    def keep_samples(self, key: bytes, samples: Sequence[Sequence[Mapping[str, Any]]]) -> None:
        """Store samples by prompt.

        Raises:
            CacheError: the file cannot be written.
        """
        self._file.execute("INSERT OR REPLACE INTO samples (key, samples) VALUES (?, ?)", (key, json.dumps(samples)))

    def close(self) -> None:
        """Close the file."""
        self._file.close()
