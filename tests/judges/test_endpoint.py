from collections.abc import Sequence
from pathlib import Path

import pytest

from preftune.errors import JudgeError
from preftune.judges.endpoint import CallBudget, EndpointJudge
from preftune.judges.judge import Comparison, Question, Verdict
from preftune.judges.judging import judge_comparisons
from preftune.judges.store import EvaluationStore
from preftune.judges.template import JudgeTemplate
from tests.judges.openai_server import TEMPLATE, OpenAIServer, running_server

SLOW_TIMEOUT = 2.0
"""Long enough for each good answer on a busy machine, where tests wait for an answer that does not come."""
FAULTS = ("429", "500", "503", "slow", "malformed", "html", "no choices", "dropped", "cut off", "prose", "nested",
          "no text")  # fmt: skip


def judge_at(
    server: OpenAIServer,
    *,
    budget: int | None = None,
    concurrency: int = 8,
    retries: int = 4,
    timeout: float = 60.0,
) -> EndpointJudge:
    return EndpointJudge(
        "judge",
        JudgeTemplate("test", TEMPLATE),
        CallBudget(budget),
        server.url,
        "none",
        timeout=timeout,
        concurrency=concurrency,
        max_retries=retries,
    )


def comparisons(count: int) -> list[Comparison]:
    """Our completion is the longer one in every second comparison."""
    return [
        Comparison(number, "prompt", f"ours {number}" + "!" * 9 * (number % 2), f"theirs {number}")
        for number in range(count)
    ]


def ask(judge: EndpointJudge, questions: Sequence[Question]) -> dict[Question, Verdict]:
    found: dict[Question, Verdict] = {}
    judge.ask(questions, found.__setitem__)
    return found


QUESTION = Question("prompt", "first one", "second")


@pytest.fixture
def store(tmp_path: Path) -> EvaluationStore:
    return EvaluationStore(tmp_path / "evaluation.sqlite")


def test_a_misbehaving_server_loses_no_verdict_and_gets_no_question_twice(store: EvaluationStore) -> None:
    items = comparisons(len(FAULTS))
    faults = {item.ours: [fault] for item, fault in zip(items, FAULTS, strict=True)}
    with running_server(faults) as server:
        judged = judge_comparisons(judge_at(server, timeout=SLOW_TIMEOUT), items, store)
        longer, shorter = (1.0, 1.0), (0.0, 0.0)
        assert [item.points for item in judged] == [shorter, longer] * (len(FAULTS) // 2)
        assert set(server.verdicts.values()) == {1}
        assert len(server.verdicts) == 2 * len(items)
        num_requests = server.num_requests
        assert judge_comparisons(judge_at(server), items, store) == judged
        assert server.num_requests == num_requests


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_survived_twice_in_a_row(fault: str) -> None:
    with running_server({QUESTION.first: [fault, fault]}) as server:
        found = ask(judge_at(server, timeout=SLOW_TIMEOUT), [QUESTION])
        assert found == {QUESTION: Verdict("first", "One says more.\nBetter: A")}
        assert server.num_requests == 3


def test_an_answer_with_half_of_a_surrogate_pair_is_kept_as_text(store: EvaluationStore) -> None:
    with running_server({QUESTION.first: ["no text"] * 9}) as server:
        judge_comparisons(judge_at(server), [Comparison(0, QUESTION.prompt, QUESTION.first, QUESTION.second)], store)
        (verdict,) = store.verdicts(judge_at(server).identity, [QUESTION]).values()
        assert verdict.answer == "Half of a pair: ?"


def test_an_unreadable_judge_is_not_asked_again(store: EvaluationStore) -> None:
    items = comparisons(1)
    faults = {text: ["prose"] * 9 for text in (items[0].ours, items[0].theirs)}
    with running_server(faults) as server:
        for _ in range(2):
            (judged,) = judge_comparisons(judge_at(server), items, store)
            assert not judged.is_complete
            assert judged.points == ()
            assert server.num_requests == 6  # three attempts in either order


def test_a_reminder_follows_an_answer_without_a_verdict() -> None:
    with running_server({QUESTION.first: ["prose"]}) as server:
        judge = judge_at(server)
        assert ask(judge, [QUESTION])[QUESTION].choice == "first"
        assert judge.budget.num_claimed == 2


@pytest.mark.parametrize("fault", ["401", "404"])
def test_a_key_or_model_that_is_refused_stops_at_once(fault: str) -> None:
    with running_server({QUESTION.first: [fault] * 9}) as server:
        with pytest.raises(JudgeError, match=f"judge = openai:judge at .*fault {fault}.*OPENAI_API_KEY"):
            ask(judge_at(server), [QUESTION])
        assert server.num_requests == 1


def test_a_server_that_fails_stops_judging_and_its_verdicts_are_kept(store: EvaluationStore) -> None:
    items = comparisons(20)
    broken = {text: ["500"] * 99 for item in items[4:] for text in (item.ours, item.theirs)}
    with running_server(broken) as server:
        judge = judge_at(server, concurrency=1, retries=0)
        with pytest.raises(JudgeError, match="run the same command again to continue"):
            judge_comparisons(judge, items, store)
        assert server.num_requests == 8 + 5
        server.left.clear()
        judged = judge_comparisons(judge_at(server), items, store)
        assert all(item.is_complete for item in judged)
        assert set(server.verdicts.values()) == {1}


def test_a_question_that_fails_alone_is_skipped_and_asked_the_next_time(store: EvaluationStore) -> None:
    items = comparisons(8)
    with running_server({items[3].ours: ["400"]}) as server:
        first = judge_comparisons(judge_at(server, concurrency=1), items, store)
        assert [item.is_complete for item in first] == [True] * 3 + [False] + [True] * 4
        again = judge_comparisons(judge_at(server), items, store)
        assert all(item.is_complete for item in again)
        assert set(server.verdicts.values()) == {1}


def test_a_budget_bounds_the_answers_that_are_paid_for(store: EvaluationStore) -> None:
    items = comparisons(6)
    with running_server({items[0].ours: ["429"]}) as server:
        judged = judge_comparisons(judge_at(server, budget=8, concurrency=3), items, store)
        assert server.verdicts.total() == 8
        assert sum(item.is_complete for item in judged) == 4
        rest = judge_comparisons(judge_at(server, budget=8), items, store)
        assert all(item.is_complete for item in rest)
        assert server.verdicts.total() == 12


def test_so_many_calls_are_under_way_at_a_time() -> None:
    questions = [Question("prompt", f"first {number}", "second") for number in range(12)]
    with running_server(seconds=0.05) as server:
        assert len(ask(judge_at(server, concurrency=4), questions)) == 12
        assert server.num_requests == 12


def test_a_model_without_temperature_gets_requests_without_it() -> None:
    questions = [QUESTION, Question("prompt", "another", "second")]
    with running_server({QUESTION.first: ["no temperature"]}) as server:
        assert len(ask(judge_at(server, concurrency=1), questions)) == 2
        assert [settings.get("temperature") for settings in server.settings] == [0.0, None, None]


KEY, PASSWORD, TOKEN = "sk-very-secret-key", "pass%2Fword", "query-token"


@pytest.mark.parametrize("fault", ["echo 401", "echo 400", "echo"])
@pytest.mark.parametrize("address", ["{}", "me:pass%2Fword@{}", "{}?api-version=query-token"])
def test_a_key_that_the_endpoint_echoes_is_neither_shown_nor_stored(fault: str, address: str, tmp_path: Path) -> None:
    with running_server({QUESTION.first: [fault] * 9}) as server:
        scheme, _, rest = server.url.partition("://")
        host, _, path = rest.partition("/")
        base_url = f"{scheme}://" + address.format(f"{host}/{path}")
        template = JudgeTemplate("test", TEMPLATE)
        judge = EndpointJudge("judge", template, CallBudget(None), base_url, KEY, concurrency=1, max_retries=0)
        shown = [judge.name, judge.identity, repr(judge)]
        store = EvaluationStore(tmp_path / "evaluation.sqlite")
        try:
            judged = judge_comparisons(judge, [Comparison(1, QUESTION.prompt, QUESTION.first, QUESTION.second)], store)
            shown.append(repr(judged))
        except JudgeError as error:
            shown.append(str(error))
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    for secret in (KEY, PASSWORD, "pass/word", TOKEN):
        assert secret not in "".join(shown)
        assert secret.encode() not in kept


def test_verdicts_depend_on_model_endpoint_and_template() -> None:
    with running_server() as server:
        judge = judge_at(server)
        other = EndpointJudge("judge", JudgeTemplate("test", TEMPLATE + "!"), CallBudget(None), server.url, "none")
        assert judge.name == other.name == "openai:judge"
        assert judge.identity != other.identity
        assert server.url in judge.identity
        assert "none" not in repr(judge)
