"""Values brought to the type of their field."""

from collections.abc import Mapping
from typing import Any

import pytest

from preftune.settings.config import coerce


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("safety=0.5", {"safety": 0.5}),
        (" safety = 0.5 , length=-1e-2", {"safety": 0.5, "length": -0.01}),
        ({"safety": 1, "length": "1e-3"}, {"safety": 1.0, "length": 0.001}),
        ("", {}),
        ({}, {}),
    ],
)
def test_numbers_by_name_are_read_from_text_and_from_mappings(value: Any, expected: dict[str, float]) -> None:
    assert coerce(value, Mapping[str, float]) == expected


@pytest.mark.parametrize("value", ["safety", "safety=", "=1", "safety=much", {"safety": True}, {1: 1.0}, [1.0], None])
def test_text_in_place_of_a_number_is_an_error(value: Any) -> None:
    with pytest.raises(ValueError, match="must be written as name=number,name=number"):
        coerce(value, Mapping[str, float])


def test_names_by_name_stay_text() -> None:
    assert coerce("chosen=1", Mapping[str, str]) == {"chosen": "1"}
    with pytest.raises(ValueError, match="must be written as name=column,name=column"):
        coerce({"chosen": 1}, Mapping[str, str])
