from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch

from preftune.errors import ConfigError
from preftune.groups import Text
from preftune.judges.endpoint import EndpointJudge
from preftune.judges.function import ScoringJudge
from preftune.judges.judge import Comparison, JudgedComparison, Keep, Question, Verdict
from preftune.judges.judging import find_judge, judge_comparisons
from preftune.judges.people import FileJudge
from preftune.judges.store import EvaluationStore
from preftune.model.forward.arithmetic import Arithmetic
from preftune.settings.evaluation_sections import JudgeSettings

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


def points(judged: Sequence[JudgedComparison]) -> list[tuple[float, ...]]:
    return [item.points for item in judged]


def test_each_comparison_is_asked_in_both_orders() -> None:
    judge = LikesOurs()
    assert points(judge_comparisons(judge, COMPARISONS, None)) == [(1.0, 1.0)] * 4
    assert judge.asked == [question for item in COMPARISONS for question in (item.ours_first, item.ours_first.turned)]


def test_a_judge_without_position_dependence_is_asked_once() -> None:
    asked: list[tuple[Text, str]] = []

    def score(prompts: Sequence[Text], completions: Sequence[str]) -> list[float]:
        asked.extend(zip(prompts, completions, strict=True))
        return [float(len(text)) for text in completions]

    judged = judge_comparisons(ScoringJudge("long", score), COMPARISONS, None)
    assert points(judged) == [(0.0,)] * 4
    assert len(asked) == len(set(asked)) == 8


def test_a_completion_without_a_score_leaves_its_comparison_without_a_verdict() -> None:
    judge = ScoringJudge("long", lambda _, texts: [float(len(text)) if text != "b" else None for text in texts])
    first, second = judge_comparisons(judge, [Comparison(0, "p", "aa", "b"), Comparison(1, "p", "aa", "ccc")], None)
    assert (first.is_complete, first.scores) == (False, None)
    assert (second.points, second.scores) == ((0.0,), (2.0, 3.0))
    assert judge.scores(["p", "p"], ["b", "aa"]) == [None, 2.0]


def test_equal_completions_tie_without_a_question() -> None:
    judge = LikesOurs()
    (judged,) = judge_comparisons(judge, [Comparison(0, "p", "same", "same")], None)
    assert (judged.points, judge.asked) == ((0.5, 0.5), [])


def test_the_same_comparison_twice_is_asked_once() -> None:
    judge = LikesOurs()
    assert len(judge_comparisons(judge, [COMPARISONS[0]] * 3, None)) == 3
    assert len(judge.asked) == 2


def test_stored_verdicts_are_not_requested_again(store: EvaluationStore) -> None:
    first = judge_comparisons(LikesOurs(), COMPARISONS[:3], store)
    judge = LikesOurs()
    again = judge_comparisons(judge, COMPARISONS, store)
    assert again[:3] == first
    assert len(judge.asked) == 2


def test_another_judge_is_asked_again(store: EvaluationStore) -> None:
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


CPU = Arithmetic(torch.device("cpu"))


@pytest.fixture(autouse=True)
def _no_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


def test_an_endpoint_takes_key_and_address_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    settings = JudgeSettings(judge="openai:gpt-5", judge_prompt="summary", judge_concurrency=3, judge_timeout=5.0)
    judge = find_judge(settings, CPU)
    assert isinstance(judge, EndpointJudge)
    assert (judge.model, judge.template.name, judge.concurrency, judge.timeout) == ("gpt-5", "summary", 3, 5.0)
    assert (judge.api_key, judge.base_url) == ("secret", "https://api.openai.com/v1")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:8000/v1")
    assert "http://localhost:8000/v1" in str(find_judge(settings, CPU).identity)


def test_an_endpoint_of_your_own_needs_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:8000/v1")
    assert find_judge(JudgeSettings(judge="openai:mine"), CPU).name == "openai:mine"


def test_an_endpoint_needs_a_key_or_an_address() -> None:
    with pytest.raises(ConfigError, match=r"there is no key\. Set OPENAI_API_KEY, or OPENAI_BASE_URL"):
        find_judge(JudgeSettings(judge="openai:gpt-5"), CPU)


def test_a_file_and_a_function_are_found_by_name() -> None:
    judge = find_judge(JudgeSettings(judge="file:~/verdicts.jsonl"), CPU)
    assert judge == FileJudge(Path("~/verdicts.jsonl").expanduser())
    assert find_judge(JudgeSettings(judge="python:builtins:pow"), CPU).name == "python:builtins:pow"
