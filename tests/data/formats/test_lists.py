"""Rows with several completions and their scores."""

from typing import Any

import pytest

from preftune.data.formats.table import recognise
from preftune.errors import DataError
from preftune.groups import Message, Origin
from tests.data.formats.rows import contents, read

USER = {"role": "user", "content": "2+2="}
FOUR = {"role": "assistant", "content": "4"}
LIST: dict[str, Any] = {"prompt": "2+2=", "completions": ["4", "5"], "scores": [1, 0.5]}


@pytest.mark.parametrize("last", ["scores", "ranks"])
def test_lists_are_recognised_by_completions_with_scores_or_ranks(last: str) -> None:
    assert recognise(["id", "prompt", "completions", last]).name == "lists"


def test_a_list_is_a_group_of_scored_completions_without_pairs() -> None:
    group = read(**LIST)
    assert (group.prompt, contents(group), group.pairs) == ("2+2=", ["4", "5"], ())
    assert [completion.score for completion in group.completions] == [1.0, 0.5]
    assert group.origin == Origin("prefs.jsonl", 17)


def test_a_list_may_hold_one_completion() -> None:
    assert contents(read(prompt="2+2=", completions=["4"], scores=["1.5"])) == ["4"]


def test_the_best_rank_is_1() -> None:
    group = read(prompt="2+2=", completions=["5", "4", "6"], ranks=[2, 1, 3])
    assert [completion.score for completion in group.completions] == [-2.0, -1.0, -3.0]


def test_scores_go_before_ranks_and_ranks_stand_in_for_blank_scores() -> None:
    assert read(**LIST, ranks=[2, 1]).completions[0].score == 1.0
    assert read(**(LIST | {"scores": None}), ranks=[2, 1]).completions[0].score == -2.0


@pytest.mark.parametrize(
    ("prompt", "completions"), [([USER], ["4", "5"]), ("2+2=", [[FOUR], "5"]), ([USER], [[FOUR], "5"])]
)
def test_where_any_is_messages_all_become_messages(prompt: Any, completions: Any) -> None:
    group = read(prompt=prompt, completions=completions, scores=[1, 0])
    assert group.prompt == (Message("user", "2+2="),)
    assert contents(group) == [(Message("assistant", "4"),), (Message("assistant", "5"),)]


def test_weights_are_lists_of_spans_one_for_each_completion() -> None:
    group = read(**LIST, weights=[[[0, 1, 0.25]], None])
    assert [[span.weight for span in completion.weights] for completion in group.completions] == [[0.25], []]


def test_further_scores_are_lists_by_name_and_only_requested_ones_are_read() -> None:
    fields = LIST | {"safety": [3, 2], "wit": "none"}
    assert [completion.extra_scores for completion in read(**fields).completions] == [{}, {}]
    group = read(extra_scores=("safety",), **fields)
    assert [completion.extra_scores for completion in group.completions] == [{"safety": 3.0}, {"safety": 2.0}]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"prompt": None}, "field 'prompt' is missing"),
        ({"completions": None}, "field 'completions' is missing"),
        ({"completions": "4"}, "field 'completions' is of type str. It must be a list with the completions"),
        ({"completions": [], "scores": []}, "field 'completions' is an empty list"),
        ({"completions": ["4", 5]}, r"field 'completions\[1\]' is of type int. It must be text or a list of messages"),
        ({"completions": ["4", None]}, r"field 'completions\[1\]' is missing"),
        ({"completions": ["4", " "]}, r"field 'completions\[1\]' has an empty completion"),
        ({"completions": ["4", "\ud800"]}, r"field 'completions\[1\]' holds half of a surrogate pair"),
        (
            {"completions": [[FOUR], [USER]]},
            r"field 'completions\[1\]' has a completion that starts with a turn of 'us",
        ),
        ({"scores": None}, "field 'scores' is missing"),
        ({"scores": 1}, "field 'scores' is of type int. It must be a list with a number for each completion"),
        ({"scores": [1]}, "field 'scores' has 1 items, but there are 2 completions"),
        ({"scores": [1, None]}, r"field 'scores\[1\]' is of type NoneType. It must be a number"),
        ({"scores": [1, "good"]}, r"field 'scores\[1\]' is 'good'. It must be a number"),
        ({"scores": [float("nan"), 1]}, r"field 'scores\[0\]' is nan. It must be a finite number"),
        ({"scores": None, "ranks": [1, 2, 3]}, "field 'ranks' has 3 items, but there are 2 completions"),
        ({"weights": [[]]}, "field 'weights' has 1 items, but there are 2 completions"),
        ({"weights": [[[0, 9, 1]], []]}, r"field 'weights\[0\]' has a span \[0, 9\) beyond its text, which has 1 char"),
    ],
)
def test_a_list_that_cannot_be_used_is_an_error_that_names_line_and_field(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(DataError, match=rf"^prefs\.jsonl:17: {problem}"):
        read(**(LIST | fields))


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (None, "field 'safety' is missing"),
        ([1], "field 'safety' has 1 items, but there are 2 completions"),
        ([1, None], r"field 'safety\[1\]' is of type NoneType"),
    ],
)
def test_a_requested_further_score_is_required(value: Any, problem: str) -> None:
    with pytest.raises(DataError, match=rf"^prefs\.jsonl:17: {problem}"):
        read(extra_scores=("safety",), **LIST, safety=value)
