"""Rows with one completion and a label."""

from typing import Any

import pytest

from preftune.data.formats.table import find_format, recognise
from preftune.data.load import groups_from_rows
from preftune.errors import DataError
from preftune.groups import Message
from tests.data.formats.rows import contents, read

THUMB: dict[str, Any] = {"prompt": "2+2=", "completion": "4", "label": True}


def test_a_label_makes_a_demonstration_a_thumb() -> None:
    assert recognise(["prompt", "completion", "label"]).name == "thumbs"
    assert recognise(["prompt", "completion"]).name == "demonstrations"
    assert find_format("demonstrations", ["prompt", "completion", "label"]).name == "demonstrations"


@pytest.mark.parametrize(
    ("label", "desirable"),
    [
        (True, True),
        (False, False),
        (1, True),
        (0, False),
        (1.0, True),
        ("true", True),
        ("False", False),
        (" TRUE ", True),
        ("1", True),
        ("0", False),
    ],
)
def test_a_label_is_true_or_false_in_all_the_ways_of_files(label: Any, desirable: bool) -> None:
    group = read(**(THUMB | {"label": label}))
    assert (group.prompt, contents(group), group.pairs) == ("2+2=", ["4"], ())
    assert group.completions[0].desirable is desirable


def test_a_thumb_may_be_a_conversation() -> None:
    group = read(prompt=[{"role": "user", "content": "2+2="}], completion="4", label=False)
    assert (group.prompt, contents(group)) == ((Message("user", "2+2="),), [(Message("assistant", "4"),)])


def test_a_thumb_may_have_weights() -> None:
    [span] = read(**THUMB, weights=[[0, 1, 2]]).completions[0].weights
    assert (span.start, span.stop, span.weight) == (0, 1, 2.0)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"label": None}, "field 'label' is missing"),
        ({"label": " "}, "field 'label' is missing"),
        ({"label": "good"}, "field 'label' is 'good'. It must be true or false, or 1 or 0.*--format demonstrations"),
        ({"label": 2}, "field 'label' is 2"),
        ({"label": 0.5}, "field 'label' is 0.5"),
        ({"label": [True]}, r"field 'label' is \[True\]"),
        ({"completion": None}, "field 'completion' is missing"),
        ({"completion": ""}, "field 'completion' has an empty completion"),
        ({"prompt": 4}, "field 'prompt' is of type int"),
        ({"weights": [[0, 9, 1]]}, r"field 'weights' has a span \[0, 9\) beyond its text"),
    ],
)
def test_a_thumb_that_cannot_be_used_is_an_error_that_names_line_and_field(
    fields: dict[str, Any], problem: str
) -> None:
    with pytest.raises(DataError, match=rf"^prefs\.jsonl:17: {problem}"):
        read(**(THUMB | fields))


def test_a_single_completion_has_no_auxiliary_scores_to_compare() -> None:
    with pytest.raises(
        DataError, match=r"^prefs: the format 'thumbs' has no columns for auxiliary scores, but --auxil"
    ):
        groups_from_rows([THUMB | {"safety": 1}], source="prefs", extra_scores=("safety",))
