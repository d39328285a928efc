from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from preftune.judges.comparison import Comparison, Judged, Question, Verdict
from preftune.judges.judge import Keep
from preftune.judges.judging import judge_comparisons
from preftune.judges.scores import ScoringJudge
from preftune.judges.store import EvaluationStore

COMPARISONS = [Comparison(number, f"prompt {number}", f"ours {number}", f"theirs {number}") for number in range(4)]


class LikesOurs:
    """Prefers what we wrote, and counts what it is asked. May break down after some questions."""

    name, asks_both_orders = "likes ours", True

    def __init__(self, *, identity: str | None = "likes ours 1", breaks_after: int | None = None) -> None:
        self.identity = identity
        self.asked: list[Question] = []
        self._breaks_after = breaks_after

    def ask(self, questions: Sequence[Question], keep: Keep) -> None:
        for question in questions:
            if len(self.asked) == self._breaks_after:
                raise KeyboardInterrupt
            self.asked.append(question)
            keep(question, Verdict("first" if question.first.startswith("ours") else "second", "Because."))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EvaluationStore]:
    opened = EvaluationStore(tmp_path / "evaluation.sqlite")
    yield opened
    opened.close()


def points(judged: Sequence[Judged]) -> list[tuple[float, ...]]:
    return [item.points for item in judged]


def test_each_comparison_is_asked_in_both_orders() -> None:
    judge = LikesOurs()
    assert points(judge_comparisons(judge, COMPARISONS, None)) == [(1.0, 1.0)] * 4
    assert judge.asked == [question for item in COMPARISONS for question in (item.ours_first, item.ours_first.turned)]


def test_a_judge_to_whom_the_order_makes_no_difference_is_asked_once() -> None:
    asked: list[tuple[object, str]] = []

    def score(items: Sequence[tuple[object, str]]) -> list[float]:
        asked.extend(items)
        return [float(len(text)) for _, text in items]

    judged = judge_comparisons(ScoringJudge("long", score), COMPARISONS, None)
    assert points(judged) == [(0.0,)] * 4
    assert len(asked) == len(set(asked)) == 8


def test_equal_completions_are_a_tie_that_nobody_is_asked_about() -> None:
    judge = LikesOurs()
    (judged,) = judge_comparisons(judge, [Comparison(0, "p", "same", "same")], None)
    assert (judged.points, judge.asked) == ((0.5, 0.5), [])


def test_the_same_comparison_twice_is_asked_once() -> None:
    judge = LikesOurs()
    assert len(judge_comparisons(judge, [COMPARISONS[0]] * 3, None)) == 3
    assert len(judge.asked) == 2


def test_verdicts_that_are_kept_are_not_asked_for_again(store: EvaluationStore) -> None:
    first = judge_comparisons(LikesOurs(), COMPARISONS[:3], store)
    judge = LikesOurs()
    again = judge_comparisons(judge, COMPARISONS, store)
    assert again[:3] == first
    assert len(judge.asked) == 2


def test_another_judge_is_asked_anew(store: EvaluationStore) -> None:
    judge_comparisons(LikesOurs(), COMPARISONS, store)
    judge = LikesOurs(identity="likes ours 2")
    judge_comparisons(judge, COMPARISONS, store)
    assert len(judge.asked) == 8


def test_a_judge_without_identity_is_asked_each_time(store: EvaluationStore) -> None:
    for _ in range(2):
        judge = LikesOurs(identity=None)
        judge_comparisons(judge, COMPARISONS, store)
        assert len(judge.asked) == 8


def test_an_interruption_loses_no_verdict(store: EvaluationStore) -> None:
    with pytest.raises(KeyboardInterrupt):
        judge_comparisons(LikesOurs(breaks_after=5), COMPARISONS, store)
    judge = LikesOurs()
    assert points(judge_comparisons(judge, COMPARISONS, store)) == [(1.0, 1.0)] * 4
    assert len(judge.asked) == 3


def test_a_comparison_that_is_judged_in_one_order_only_does_not_count() -> None:
    class FirstOrderOnly(LikesOurs):
        def ask(self, questions: Sequence[Question], keep: Keep) -> None:
            super().ask(questions[:1], keep)

    (judged,) = judge_comparisons(FirstOrderOnly(), COMPARISONS[:1], None)
    assert not judged.is_complete
    assert judged.points == ()
