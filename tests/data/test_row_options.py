"""What a row must hold to be wanted."""

from typing import Any

import pytest

from preftune.data.row_options import holds as row_holds
from preftune.data.rows import Row
from preftune.errors import ConfigError, DataError
from preftune.groups import Origin
from preftune.settings.data import Condition


def holds(condition: str, value: Any) -> bool:
    return row_holds(Condition.parse(condition), Row(Origin("prefs", 1), {"x": value}))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("score_ratio>=2", ("score_ratio", ">=", "2")),
        (" lang = en ", ("lang", "=", "en")),
        ("fine-grained score <= -1.5", ("fine-grained score", "<=", "-1.5")),
        ("source!=truthful_qa", ("source", "!=", "truthful_qa")),
        ("note=", ("note", "=", "")),
        ("formula=a>b", ("formula", "=", "a>b")),
    ],
)
def test_a_text_states_column_comparison_and_value(text: str, parts: tuple[str, str, str]) -> None:
    assert Condition.parse(text) == Condition(*parts)


@pytest.mark.parametrize("text", ["", "lang", "=en", ">=2", "lang en"])
def test_a_text_that_states_none_is_an_error(text: str) -> None:
    with pytest.raises(ConfigError, match=r"must be a column, one of >= <= != = > < and a value, such as lang=en"):
        Condition.parse(text)


@pytest.mark.parametrize("text", ["x>many", "x<=nan", "x>inf", "x<"])
def test_comparing_with_a_value_that_is_not_a_number_is_an_error(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a finite number"):
        Condition.parse(text)


@pytest.mark.parametrize(
    ("condition", "value", "wanted"),
    [
        ("x>=2", 2, True),
        ("x>=2", 1.99, False),
        ("x>=2", "2.5", True),
        ("x<2", 1, True),
        ("x>2", None, False),
        ("x<2", " ", False),
        ("x=en", "en", True),
        ("x=en", " en ", True),
        ("x!=en", "de", True),
        ("x!=en", None, True),
        ("x=", None, True),
        ("x=2", 2.0, True),
        ("x=2", "2.0", False),
        ("x=true", True, True),
        ("x=False", False, True),
        ("x!=true", True, False),
        ("x=1", True, False),
        ("x=[1]", [1], True),
    ],
)
def test_numbers_are_compared_as_numbers_and_all_else_as_text(condition: str, value: Any, wanted: bool) -> None:
    assert holds(condition, value) is wanted


def test_a_column_without_numbers_cannot_be_compared() -> None:
    with pytest.raises(DataError, match=r"prefs:1: field 'x' is 'many'\. It must be a number"):
        holds("x>2", "many")
