"""Completions of a row: weights of characters, auxiliary scores."""

from typing import Any

import pytest

from preftune.data.formats.table import FORMATS
from preftune.data.load import groups_from_rows
from preftune.errors import DataError
from preftune.groups import WeightedSpan
from tests.data.formats.rows import read

PAIR: dict[str, Any] = {
    "prompt": "2+2=",
    "chosen": "four",
    "rejected": "five",
    "chosen_safety": 2,
    "rejected_safety": "1",
}


def test_only_the_requested_scores_are_read() -> None:
    assert read(**PAIR).completions[0].extra_scores == {}
    group = read(extra_scores=("safety",), **PAIR)
    assert [completion.extra_scores for completion in group.completions] == [{"safety": 2.0}, {"safety": 1.0}]


def test_transcripts_have_them_too() -> None:
    fields = PAIR | {"chosen": "It is 4", "rejected": "It is 5"}
    del fields["prompt"]
    assert read(extra_scores=("safety",), **fields).completions[0].extra_scores == {"safety": 2.0}


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"rejected_safety": None}, "field 'rejected_safety' is missing, but --auxiliary asks for it"),
        ({"rejected_safety": ""}, "field 'rejected_safety' is missing"),
        ({"chosen_safety": "high"}, "field 'chosen_safety' is 'high'. It must be a number"),
        ({"chosen_safety": float("inf")}, "field 'chosen_safety' is inf"),
    ],
)
def test_a_missing_or_non_numeric_score_is_an_error(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(DataError, match=rf"^prefs\.jsonl:17: {problem}"):
        read(extra_scores=("safety",), **(PAIR | fields))


def test_their_columns_can_be_mapped() -> None:
    rows = [{"prompt": "2+2=", "chosen": "4", "rejected": "5", "c": 2, "r": 1}]
    columns = {"chosen_safety": "c", "rejected_safety": "r"}
    loaded = groups_from_rows(rows, columns=columns, extra_scores=["safety"])
    assert loaded.groups[0].completions[0].extra_scores == {"safety": 2.0}
    with pytest.raises(
        DataError, match="maps to 'chosen_safety', 'rejected_safety', which the format 'pairs' does not"
    ):
        groups_from_rows(rows, columns=columns)


def test_a_row_that_lacks_a_score_can_be_skipped() -> None:
    loaded = groups_from_rows(
        [PAIR, PAIR | {"chosen_safety": None}], extra_scores=["safety"], on_bad_row="skip", source="prefs"
    )
    assert [str(row) for row in loaded.skipped] == [
        "prefs:2: field 'chosen_safety' is missing, but --auxiliary asks for it."
    ]


def test_the_columns_of_a_format_are_required_optional_and_requested_ones() -> None:
    for known in FORMATS:
        assert set(known.required[0]) <= known.columns()
        assert len(known.columns(["safety"]) - known.columns()) == len(known.extra)


SUM: dict[str, Any] = {"prompt": "2+2=", "chosen": "four", "rejected": "five"}


def test_each_completion_of_a_pair_has_its_own_weights() -> None:
    group = read(**SUM, chosen_weights=[[0, 2, 0.5], [3, 4, 2]], rejected_weights=[])
    assert group.completions[0].weights == (WeightedSpan(0, 2, 0.5), WeightedSpan(3, 4, 2.0))
    assert group.completions[1].weights == ()


def test_a_table_may_give_all_three_numbers_as_floats() -> None:
    assert read(**SUM, chosen_weights=((0.0, 2.0, 0.5),)).completions[0].weights == (WeightedSpan(0, 2, 0.5),)


def test_weights_of_messages_count_the_content_of_the_assistant() -> None:
    messages = [{"role": "assistant", "content": "four"}]
    assert read(**(SUM | {"chosen": messages}), chosen_weights=[[0, 4, 0]]).completions[0].weighted_text == "four"


def test_weights_of_transcripts_count_the_whole_text() -> None:
    group = read(chosen="The sky is blue", rejected="The sky is bleak", chosen_weights=[[11, 15, 0.5]])
    assert group.completions[0].weights == (WeightedSpan(1, 5, 0.5),)
    with pytest.raises(
        DataError, match=r"^prefs\.jsonl:17: field 'chosen_weights\[0\]' cannot be used: .*no characters"
    ):
        read(chosen="The sky is blue", rejected="The sky is bleak", chosen_weights=[[0, 15, 0.5]])


@pytest.mark.parametrize(
    ("weights", "problem"),
    [
        ("0-2", r"field 'chosen_weights' is of type str. It must be a list of \[start, stop, weight\]"),
        ([0, 2, 0.5], r"field 'chosen_weights\[0\]' is 0. It must be \[start, stop, weight\]"),
        ([[0, 2]], r"field 'chosen_weights\[0\]' is \[0, 2\]"),
        ([[0, 2, "much"]], r"field 'chosen_weights\[0\]' is 'much'. It must be a number"),
        ([[0, 2, None]], r"field 'chosen_weights\[0\]' is of type NoneType"),
        ([[0, 2.5, 1]], r"field 'chosen_weights\[0\]' goes from 0.0 to 2.5. Both must be whole numbers"),
        (
            [[0, 1, 1], [0, 2, -1]],
            r"field 'chosen_weights\[1\]' cannot be used: the weight of the span \[0, 2\) is -1.0",
        ),
        ([[2, 2, 1]], r"field 'chosen_weights\[0\]' cannot be used: the span \[2, 2\) holds no characters"),
        ([[0, 5, 1]], r"field 'chosen_weights' has a span \[0, 5\) beyond its text, which has 4 characters"),
        ([[0, 3, 1], [2, 4, 1]], r"field 'chosen_weights' has spans \[0, 3\) and \[2, 4\) that overlap"),
    ],
)
def test_weights_that_cannot_be_used_are_an_error_that_names_line_and_field(weights: Any, problem: str) -> None:
    with pytest.raises(DataError, match=rf"^prefs\.jsonl:17: {problem}"):
        read(**SUM, chosen_weights=weights)
