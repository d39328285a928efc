"""The columns `system`, `tools` and `chat_template_kwargs`, in every format with a row per prompt."""

import json
from typing import Any

import pytest

from preftune.data.formats.chat_columns import CHAT_COLUMNS
from preftune.data.formats.table import FORMATS
from preftune.data.load import groups_from_rows
from preftune.errors import DataError
from preftune.groups import Message, PromptGroup, TemplateInputs
from tests.data.formats.published import FILES, first_row

TURNS = [{"role": "user", "content": "2+2="}]
FOUR = {"role": "assistant", "content": "4"}
LAYOUTS: dict[str, dict[str, Any]] = {
    "pairs": {"prompt": "2+2=", "chosen": "4", "rejected": "5"},
    "lists": {"prompt": "2+2=", "completions": ["4", "5"], "scores": [1, 0]},
    "thumbs": {"prompt": "2+2=", "completion": "4", "label": True},
    "comparisons": {"prompt": "2+2=", "completion_1": "4", "completion_2": "5", "preference": 1},
    "demonstrations": {"messages": [*TURNS, FOUR]},
    **{name: first_row(file) for file, name in FILES.items() if name not in ("message_rows", "message_trees")},
    "transcripts": {"chosen": "\n\nHuman: 2+2?\n\nAssistant: 4", "rejected": "\n\nHuman: 2+2?\n\nAssistant: 5"},
}
TOOLS = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}]


def read(name: str, **further: Any) -> PromptGroup:
    [group] = groups_from_rows([LAYOUTS[name] | further], format=name).groups
    return group


def roles(group: PromptGroup) -> list[str]:
    assert not isinstance(group.prompt, str)
    return [message.role for message in group.prompt]


def test_all_formats_but_trees_are_tried() -> None:
    assert {known.name for known in FORMATS if known.takes_row_columns} == LAYOUTS.keys()
    assert all(set(CHAT_COLUMNS) <= known.columns() for known in FORMATS if known.takes_row_columns)


@pytest.mark.parametrize("name", LAYOUTS)
def test_system_is_the_first_turn(name: str) -> None:
    plain = read(name, system="")
    group = read(name, system="Be brief.")
    assert group.prompt[0] == Message("system", "Be brief.")
    assert roles(group).count("system") == 1
    assert len(group.completions) == len(plain.completions)
    assert group.pairs == plain.pairs
    if not isinstance(plain.prompt, str):
        assert group.prompt[1:] == plain.prompt


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("is_text", [False, True])
def test_tools_and_variables_are_kept_as_objects_or_json_text(name: str, is_text: bool) -> None:
    values: dict[str, Any] = {"tools": TOOLS, "chat_template_kwargs": {"enable_thinking": False}}
    group = read(name, **{key: json.dumps(value) if is_text else value for key, value in values.items()})
    assert group.inputs == TemplateInputs(tuple(TOOLS), {"enable_thinking": False})
    assert not read(name, tools=[], chat_template_kwargs={}).inputs
    assert not read(name, tools=None, chat_template_kwargs="").inputs


def test_a_transcript_with_a_system_prompt_becomes_its_turns() -> None:
    group = read("transcripts", system="Be brief.")
    assert group.prompt == (Message("system", "Be brief."), Message("user", "2+2?"))
    assert group.completions[0].content == (Message("assistant", "4"),)


def test_nulls_that_a_table_adds_are_left_out() -> None:
    tools = [{"name": "add", "parameters": {"a": {"type": "int", "enum": None}}, "strict": None}]
    group = read("pairs", tools=tools, chat_template_kwargs={"enable_thinking": None, "mode": "short"})
    assert group.inputs == TemplateInputs(({"name": "add", "parameters": {"a": {"type": "int"}}},), {"mode": "short"})


@pytest.mark.parametrize(
    ("further", "problem"),
    [
        ({"tools": "add"}, "field 'tools' is text, but not JSON"),
        ({"tools": {"name": "add"}}, "field 'tools' is of type dict. It must be a list of tools"),
        ({"tools": ["add"]}, r"field 'tools\[0\]' is of type str"),
        ({"chat_template_kwargs": [1]}, "field 'chat_template_kwargs' is of type list. It must be an object"),
        ({"chat_template_kwargs": {"tokenize": True}}, "field 'chat_template_kwargs' gives 'tokenize'"),
        ({"system": 3}, "field 'system' is of type int. It must be text"),
    ],
)
def test_columns_that_cannot_be_used_are_named(further: dict[str, Any], problem: str) -> None:
    with pytest.raises(DataError, match=f"rows:1: {problem}"):
        read("pairs", **further)


def test_two_different_system_turns_are_an_error_and_the_same_twice_is_one() -> None:
    messages = [{"role": "system", "content": "Be brief."}, *TURNS, FOUR]
    row = {"messages": messages, "system": "Be brief."}
    [group] = groups_from_rows([row]).groups
    assert roles(group) == ["system", "user"]
    with pytest.raises(DataError, match="field 'system' is not the system turn that the messages begin with"):
        groups_from_rows([row | {"system": "Be long."}])
