"""The column `weight`: read in every layout of one group per row, and kept by every view and conversion."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preftune.data.convert import Conversion, Converter
from preftune.data.feedback import groups_for
from preftune.data.formats.table import FORMATS
from preftune.data.load import groups_from_rows
from preftune.data.rows import LeftOut
from preftune.data.views import PairRule
from preftune.errors import DataError
from preftune.groups import Origin
from tests.data.formats.published import FILES, first_row

PAIR = {"prompt": "2+2=", "chosen": "4", "rejected": "5"}
LIST: dict[str, Any] = {"prompt": "2+2=", "completions": ["4", "four", "5"], "scores": [2, 1, 0]}
ROWS = {FILES[file]: first_row(file) for file in FILES} | {"pairs": PAIR, "lists": LIST}
TAKING = {known.name for known in FORMATS if known.takes_row_columns}


@pytest.mark.parametrize("layout", sorted(ROWS.keys() & TAKING))
def test_a_row_of_any_layout_may_have_a_weight(layout: str) -> None:
    loaded = groups_from_rows([ROWS[layout] | {"weight": 0.25}, ROWS[layout] | {"weight": None}], format=layout)
    assert [group.weight for group in loaded.groups] == [0.25, 1.0]
    assert not any("'weight'" in note for note in loaded.notes)


@pytest.mark.parametrize("layout", [known.name for known in FORMATS if not known.takes_row_columns])
def test_a_layout_whose_rows_are_parts_of_a_tree_names_the_weight_as_not_read(layout: str) -> None:
    row = ROWS[layout] | {"weight": 2}
    answer = {"message_id": "b", "parent_id": row.get("message_id"), "role": "assistant", "text": "x", "weight": 2}
    rows = [row, answer | {"message_tree_id": row["message_tree_id"]}] if layout == "message_rows" else [row]
    assert any("'weight'" in note for note in groups_from_rows(rows, format=layout).notes)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (-1, r"field 'weight' is -1\. A weight in the loss must be at least 0"),
        ("much", "field 'weight' is 'much'. It must be a number"),
        (math.inf, "field 'weight' is inf. It must be a finite number"),
        (math.nan, "field 'weight' is nan"),
        (True, "field 'weight' is of type bool"),
        ([1], "field 'weight' has 1 items, but there are 2 completions"),
        ([1, -2], r"field 'weight\[1\]' is -2"),
    ],
)
def test_a_weight_out_of_range_is_an_error_that_names_row_and_field(value: Any, problem: str) -> None:
    with pytest.raises(DataError, match=f"rows:1: {problem}"):
        groups_from_rows([PAIR | {"weight": value}])


def test_rows_of_weight_zero_are_left_out_and_counted() -> None:
    loaded = groups_from_rows([PAIR, PAIR | {"weight": "0"}])
    assert loaded.left_out == (LeftOut(Origin("rows", 2), "weight 0"),)
    loaded = groups_from_rows([LIST, LIST | {"weight": [0, 0, 0]}])
    assert (len(loaded.groups), len(loaded.left_out)) == (1, 1)


def test_completions_of_weight_zero_are_left_out_of_what_is_learned_and_counted() -> None:
    [group] = groups_from_rows([LIST | {"weight": [1, 0, 3]}]).groups
    pairs = groups_for("pairs", [group])
    assert [[completion.content for completion in found.completions] for found in pairs.groups] == [["4", "5"]]
    assert len(pairs.report.weightless) == 2
    with pytest.raises(DataError, match="the completions have weights of their own, but this method has one loss"):
        groups_for("lists", [group])


def test_the_weight_of_a_pair_is_the_product_of_those_of_row_and_completions() -> None:
    [group] = groups_from_rows([LIST | {"weight": [2, 3, 1]}]).groups
    [found] = groups_for("pairs", [group]).groups
    assert [found.weight_of(pair.chosen, pair.rejected) for pair in found.pairs] == [6.0, 2.0, 3.0]
    [row] = groups_from_rows([PAIR | {"weight": 0.5}]).groups
    [thumbs] = groups_for("thumbs", [row]).groups
    assert [thumbs.weight_of(index) for index in (0, 1)] == [0.5, 0.5]
    [imitated] = groups_for("demonstrations", [row]).groups
    assert imitated.weight_of(0) == 0.5


@settings(max_examples=50, deadline=None, database=None)
@given(st.floats(0.01, 100), st.lists(st.floats(0.01, 100), min_size=3, max_size=3), st.sampled_from([PAIR, LIST]))
def test_a_conversion_keeps_the_weights(weight: float, weights: list[float], row: dict[str, Any]) -> None:
    rows = [row | {"weight": weight}] + [LIST | {"weight": weights}] * (row is LIST)
    groups = groups_from_rows(rows).groups
    for target, feedback in (("pairs", "pairs"), ("thumbs", "thumbs"), ("demonstrations", "demonstrations")):
        rule = PairRule("all") if row is LIST and target != "demonstrations" else PairRule()
        written = list(Converter(target, rule).rows(groups, Conversion()))
        wanted = groups_for(feedback, groups, rule=rule).groups  # type: ignore[arg-type]
        again = groups_from_rows(written).groups
        if target == "pairs":
            own = [group.weight_of(pair.chosen, pair.rejected) for group in wanted for pair in group.pairs]
        else:
            own = [group.weight_of(index) for group in wanted for index in range(len(group.completions))]
        assert [group.weight for group in again] == pytest.approx(own)
