"""Lists and objects that a file holds as text."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preftune.data.formats.serialised import parsed
from preftune.data.load import groups_from_rows, load_groups

QUESTION = [{"role": "user", "content": "2+2?"}]
FOUR, FIVE = ([{"role": "assistant", "content": text}] for text in ("It's 4\n", 'not "5"'))
PAIR = {"prompt": QUESTION, "chosen": FOUR, "rejected": FIVE}
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
).filter(lambda value: isinstance(value, list | dict))


def as_numpy_prints(turns: list[dict[str, str]]) -> str:
    return "[" + "\n ".join(map(repr, turns)) + "]"


@settings(max_examples=100, deadline=None, database=None)
@given(JSON_VALUES)
def test_json_and_python_text_give_the_value_back(value: Any) -> None:
    assert parsed(json.dumps(value)) == value
    assert parsed(repr(value)) == value


@settings(max_examples=100, deadline=None, database=None)
@given(st.text("[]{}'\"a1,: \n\\", max_size=20))
def test_any_other_text_is_none(text: str) -> None:
    assert parsed(text) is None or text.strip()[0] in "[{"


@pytest.mark.parametrize("write", [json.dumps, repr, as_numpy_prints])
def test_conversations_as_text_are_read_as_conversations(write: Any) -> None:
    rows = [{name: write(value) for name, value in PAIR.items()}] * 2
    loaded = groups_from_rows(rows)
    assert loaded.groups == groups_from_rows([PAIR, PAIR]).groups
    assert loaded.notes == (
        "rows: the texts of 'chosen', 'prompt', 'rejected' are JSON or Python lists and objects, and are read as such",
    )


def test_a_csv_file_of_lists_and_conversations_is_read(tmp_path: Path) -> None:
    def write(name: str, row: dict[str, Any]) -> str:
        text = io.StringIO()
        writer = csv.DictWriter(text, row)
        writer.writeheader()
        writer.writerow({key: value if isinstance(value, str) else repr(value) for key, value in row.items()})
        (tmp_path / name).write_text(text.getvalue())
        return str(tmp_path / name)

    rows: dict[str, dict[str, Any]] = {
        "lists.csv": {"prompt": "2+2=", "completions": ["4", "5"], "scores": [1, 0.5]},
        "messages.csv": {"messages": [*QUESTION, *FOUR]},
        "weights.csv": {"prompt": "?", "chosen": "four", "rejected": "5", "chosen_weights": [[0, 1, 2]]},
    }
    for name, row in rows.items():
        given, wanted = load_groups(write(name, row)).groups, groups_from_rows([row]).groups
        assert [(group.prompt, group.completions) for group in given] == [
            (group.prompt, group.completions) for group in wanted
        ]


def test_an_iterator_of_rows_is_decoded_like_a_list() -> None:
    rows = [{name: json.dumps(value) for name, value in PAIR.items()}] * 2
    assert groups_from_rows(iter(rows)) == groups_from_rows(rows)


def test_a_column_that_is_a_conversation_in_some_rows_only_stays_text_and_is_named() -> None:
    rows = [
        {"prompt": json.dumps(QUESTION), "chosen": "4", "rejected": "5"},
        {"prompt": "?", "chosen": "4", "rejected": "5"},
    ]
    loaded = groups_from_rows(rows)
    assert [group.prompt for group in loaded.groups] == [json.dumps(QUESTION), "?"]
    assert loaded.notes == (
        "rows: 'prompt' holds lists or objects as text in some rows, but not in rows:2, so that it is read as text in "
        "all of them",
    )


@pytest.mark.parametrize("prompt", ["[1, 2, 3]", '{"sort": [3, 1]}', "[2] What?", "[]", "{x}", "[[[["])
def test_other_lists_and_objects_in_a_column_of_text_are_text(prompt: str) -> None:
    loaded = groups_from_rows([{"prompt": prompt, "chosen": "4", "rejected": "5"}])
    assert (loaded.groups[0].prompt, loaded.notes) == (prompt, ())
