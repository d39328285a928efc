import math
import pickle

import pytest

from preftune.errors import DataError
from preftune.groups import Completion, Message, Origin, Pair, PromptGroup, WeightedSpan
from tests.builders import prompt_group

ORIGIN = Origin("prefs.jsonl", 17)


def test_a_pair_that_names_a_missing_completion_is_refused_with_its_place() -> None:
    with pytest.raises(DataError, match=r"prefs\.jsonl:17: pair \(0, 3\) names completion 3, .* 2 completions \(0-1\)"):
        PromptGroup("p", (Completion("a"), Completion("b")), (Pair(0, 3),), ORIGIN)


def test_a_negative_index_is_no_completion() -> None:
    with pytest.raises(DataError, match="names completion -1"):
        PromptGroup("p", (Completion("a"), Completion("b")), (Pair(-1, 0),), ORIGIN)


def test_equal_chosen_and_rejected_say_nothing() -> None:
    with pytest.raises(DataError, match="chosen and rejected are equal"):
        PromptGroup("p", (Completion("a"), Completion("a")), (Pair(0, 1),), ORIGIN)


def test_a_group_needs_a_completion() -> None:
    with pytest.raises(DataError, match="no completions"):
        PromptGroup("p", (), (), ORIGIN)


def test_an_empty_completion_is_refused() -> None:
    with pytest.raises(DataError, match="completion is empty"):
        Completion("")


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_scores_and_margins_must_be_finite(number: float) -> None:
    with pytest.raises(DataError, match="score is"):
        Completion("a", score=number)
    with pytest.raises(DataError, match="margin is"):
        Pair(0, 1, margin=number)


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_further_scores_must_be_finite_and_are_named(number: float) -> None:
    with pytest.raises(DataError, match="the safety is"):
        Completion("a", extra_scores={"safety": number})


@pytest.mark.parametrize(("start", "stop"), [(2, 2), (3, 2), (-1, 2)])
def test_a_span_without_characters_is_refused(start: int, stop: int) -> None:
    with pytest.raises(DataError, match=rf"the span \[{start}, {stop}\) holds no characters"):
        WeightedSpan(start, stop, 1.0)


@pytest.mark.parametrize("weight", [-0.5, math.nan, math.inf])
def test_a_weight_is_a_finite_number_of_at_least_0(weight: float) -> None:
    with pytest.raises(DataError, match=r"the weight of the span \[0, 1\) is"):
        WeightedSpan(0, 1, weight)


@pytest.mark.parametrize(
    ("spans", "problem"),
    [
        ([(0, 3)], r"completion 1 has a span \[0, 3\) beyond its text, which has 2 characters"),
        ([(1, 2), (0, 2)], r"completion 1 has spans \[0, 2\) and \[1, 2\) that overlap"),
        ([(0, 1), (0, 1)], r"completion 1 has spans \[0, 1\) and \[0, 1\) that overlap"),
    ],
)
def test_spans_lie_inside_the_text_and_do_not_overlap(spans: list[tuple[int, int]], problem: str) -> None:
    weighted = Completion("no", weights=tuple(WeightedSpan(start, stop, 0.5) for start, stop in spans))
    with pytest.raises(DataError, match=rf"^prefs\.jsonl:17: {problem}.*Correct the row or leave it out"):
        PromptGroup("p", (Completion("yes"), weighted), (), ORIGIN)


def test_spans_may_touch_and_may_come_in_any_order() -> None:
    spans = (WeightedSpan(1, 2, 0.5), WeightedSpan(0, 1, 2.0))
    assert PromptGroup("p", (Completion("no", weights=spans),), (), ORIGIN).completions[0].weights == spans


def test_weights_of_a_conversation_count_the_first_message_of_the_assistant() -> None:
    tool, answer = Message("tool", "a long result"), Message("assistant", "no")
    spans = (WeightedSpan(0, 2, 0.5),)
    completion = Completion((answer, tool), weights=spans)
    assert completion.weighted_text == "no"
    PromptGroup((Message("user", "?"),), (completion,), (), ORIGIN)
    with pytest.raises(DataError, match=r"completion 0 has weights but no assistant message"):
        PromptGroup((Message("user", "?"),), (Completion((tool,), weights=spans),), (), ORIGIN)


def test_text_and_messages_do_not_mix() -> None:
    answer = Completion((Message("assistant", "4"),))
    with pytest.raises(DataError, match="the prompt is text but a completion is not"):
        PromptGroup("2+2=", (answer,), (), ORIGIN)


def test_the_same_completion_may_be_in_many_pairs() -> None:
    group = prompt_group("2+2=", "4", "5", "6", pairs=(Pair(0, 1), Pair(0, 2)))
    assert len(group.pairs) == 2


def test_a_message_keeps_fields_for_the_chat_template_through_worker_processes() -> None:
    message = Message("assistant", "", {"tool_calls": [{"name": "add"}]})
    copied = pickle.loads(pickle.dumps(message))
    assert copied.as_dict() == {"role": "assistant", "content": "", "tool_calls": [{"name": "add"}]}
    assert hash(copied) == hash(message)


def test_errors_are_also_their_standard_kin() -> None:
    assert issubclass(DataError, ValueError)
