import math
import pickle

import pytest

from preftune.errors import DataError
from preftune.groups import Completion, Message, Origin, Pair, PromptGroup
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
