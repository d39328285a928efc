import sqlite3
import threading
from pathlib import Path

import pytest

from preftune.errors import BrokenCacheError, CacheError
from preftune.groups import Message
from preftune.judges.judge import Question, Verdict
from preftune.judges.store import EvaluationStore, evaluation_path
from preftune.model.reference.store import store_path

QUESTIONS = [Question(f"prompt {number}", "a", "b") for number in range(1200)]


def test_verdicts_come_back_as_they_were(tmp_path: Path) -> None:
    verdicts = {
        QUESTIONS[0]: Verdict("first", "Weil — ja.\nBetter: A"),
        QUESTIONS[1]: Verdict("tie", scores=(0.1, 0.1)),
        Question((Message("user", "Hi", {"name": "x"}),), "\ud800", "b"): Verdict("unreadable", "hm"),
    }
    store = EvaluationStore(tmp_path / "new" / "evaluation.sqlite")
    for question, verdict in verdicts.items():
        store.keep_verdict("judge", question, verdict)
    store.close()
    again = EvaluationStore(tmp_path / "new" / "evaluation.sqlite")
    assert again.verdicts("judge", [*verdicts, QUESTIONS[5]]) == verdicts
    assert again.verdicts("another judge", list(verdicts)) == {}
    again.close()


def test_the_two_orders_are_two_questions(tmp_path: Path) -> None:
    store = EvaluationStore(tmp_path / "evaluation.sqlite")
    store.keep_verdict("judge", QUESTIONS[0], Verdict("first"))
    assert store.verdicts("judge", [QUESTIONS[0].turned]) == {}
    store.close()


def test_threads_share_a_store(tmp_path: Path) -> None:
    store = EvaluationStore(tmp_path / "evaluation.sqlite")

    def keep(start: int) -> None:
        for question in QUESTIONS[start::4]:
            store.keep_verdict("judge", question, Verdict("second"))

    threads = [threading.Thread(target=keep, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.verdicts("judge", QUESTIONS)) == len(QUESTIONS)
    store.close()


def test_samples_come_back_by_what_they_were_drawn_with(tmp_path: Path) -> None:
    store = EvaluationStore(tmp_path / "evaluation.sqlite")
    rows = [[{"ids": [1, 2], "text": "ü", "finished": True}]]
    store.keep_samples(b"key", rows)
    assert store.samples(b"key") == rows
    assert store.samples(b"other") is None
    store.close()


def test_a_file_of_another_program_and_a_damaged_one_are_not_touched(tmp_path: Path) -> None:
    other, damaged = tmp_path / "other.sqlite", tmp_path / "damaged.sqlite"
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE mine (x)")
    connection.close()
    damaged.write_bytes(b"no database" * 1000)
    for file, problem in ((other, "of another program"), (damaged, "holds verdicts that were paid for")):
        before = file.read_bytes()
        with pytest.raises(BrokenCacheError, match=problem):
            EvaluationStore(file)
        assert file.read_bytes() == before


def test_a_file_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CacheError, match="PREFTUNE_CACHE"):
        EvaluationStore(tmp_path / "file" / "evaluation.sqlite")


def test_it_is_a_separate_file_in_the_cache_folder() -> None:
    assert evaluation_path().parent == store_path().parent
    assert evaluation_path() != store_path()
