"""Columns that no format reads: named, refused, or found to be the prompt."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preftune.data.formats.columns import REFUSED, guess_of, prompt_columns
from preftune.data.formats.table import FORMATS
from preftune.data.load import groups_from_rows
from preftune.errors import DataError
from preftune.groups import Message
from tests.data.formats.published import FILES, first_row

ANSWERS = {"chosen": "The thing is blue.", "rejected": "The thing may be green."}
TURNS = [{"role": "user", "content": "2+2="}]
LAYOUTS: dict[str, dict[str, Any]] = {
    "pairs": {"prompt": "2+2=", "chosen": "4", "rejected": "5"},
    "lists": {"prompt": "2+2=", "completions": ["4", "5"], "scores": [1, 0]},
    "thumbs": {"prompt": "2+2=", "completion": "4", "label": True},
    "demonstrations": {"messages": [*TURNS, {"role": "assistant", "content": "4"}]},
    **{FILES[file]: first_row(file) for file in FILES if FILES[file] != "message_rows"},
}
KNOWN = {name for known in FORMATS for name in known.columns()} | REFUSED.keys() | {"kto_tag", "tools", "weight"}
NAMES = st.text("abcxyz_-ÄπA 19", min_size=1, max_size=12).filter(lambda name: name not in KNOWN)
VALUES = st.one_of(st.integers(), st.booleans(), st.text("ab", min_size=1, max_size=9), st.just([1]), st.just({"a": 1}))


def of_format(name: str, *rows: dict[str, Any]) -> tuple[str, ...]:
    return groups_from_rows(rows, format=name).notes


@pytest.mark.parametrize("layout", LAYOUTS)
@settings(max_examples=30, deadline=None, database=None)
@given(name=NAMES, value=VALUES)
def test_a_column_that_no_layout_reads_is_named_with_a_guess(layout: str, name: str, value: Any) -> None:
    before = "".join(of_format(layout, LAYOUTS[layout]))
    [note] = [note for note in of_format(layout, LAYOUTS[layout] | {name: value}) if "not read" in note]
    assert repr(name) not in before
    assert f"{name!r} ({guess_of(name, value)})" in note


@pytest.mark.parametrize("layout", ["pairs", "lists", "thumbs", "demonstrations"])
def test_a_row_that_is_read_completely_has_no_note(layout: str) -> None:
    assert of_format(layout, LAYOUTS[layout]) == ()


def test_a_column_is_named_once_wherever_it_appears_and_only_if_it_has_a_value() -> None:
    rows = [LAYOUTS["pairs"], LAYOUTS["pairs"] | {"hint": "even"}, LAYOUTS["pairs"] | {"hint": "odd", "empty": ""}]
    assert groups_from_rows(rows, source="sums").notes == ("sums: columns that are not read: 'hint' (text)",)


def test_a_column_of_a_condition_or_an_auxiliary_score_is_read() -> None:
    row = LAYOUTS["pairs"] | {"lang": "en", "chosen_safety": 1, "rejected_safety": 0}
    assert groups_from_rows([row], where=["lang=en"], extra_scores=["safety"]).notes == ()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", REFUSED)
def test_a_column_that_changes_the_meaning_is_an_error_in_every_layout(layout: str, name: str) -> None:
    with pytest.raises(DataError, match=rf"rows:1: field '{name}' is not supported.*Leave the column out"):
        of_format(layout, LAYOUTS[layout] | {name: ["cat.png"]})
    assert of_format(layout, LAYOUTS[layout] | {name: None}) == of_format(layout, LAYOUTS[layout])


PROMPT_NAMES = ["input", "query", "context", "messages", "Query", "user_prompt", "promptText", "problem", "Inputs"]


@pytest.mark.parametrize("name", PROMPT_NAMES)
def test_a_column_with_the_name_of_a_prompt_is_the_prompt(name: str) -> None:
    loaded = groups_from_rows([{name: "Which colour has it?", **ANSWERS, "id": 7}] * 2)
    assert [group.prompt for group in loaded.groups] == ["Which colour has it?"] * 2
    assert [completion.content for completion in loaded.groups[0].completions] == list(ANSWERS.values())
    assert loaded.notes == (
        f"rows: the prompt is read from the column '{name}'",
        "rows: columns that are not read: 'id' (an identifier)",
    )


@pytest.mark.parametrize("answer", ["text", {"role": "assistant", "content": "text"}])
def test_messages_next_to_two_answers_are_the_prompt(answer: Any) -> None:
    loaded = groups_from_rows([{"messages": TURNS, "chosen": answer, "rejected": "other"}])
    assert loaded.groups[0].prompt == (Message("user", "2+2="),)
    assert loaded.groups[0].completions[0].content == (Message("assistant", "text"),)


@pytest.mark.parametrize(
    "fields",
    [
        {"input": "Which colour?", "context": "It is a thing."},
        {"frage": "Welche Farbe hat das Ding?"},
        {"input": "The thing"},
    ],
)
def test_a_prompt_that_is_not_clear_is_an_error_that_names_the_option(fields: dict[str, str]) -> None:
    with pytest.raises(DataError) as caught:
        groups_from_rows([{**fields, **ANSWERS}])
    for name in fields:
        assert f"--columns prompt={name}" in str(caught.value)
    assert "--format transcripts" in str(caught.value)
    [group] = groups_from_rows([{**fields, **ANSWERS}], columns={"prompt": next(iter(fields))}).groups
    assert group.prompt == next(iter(fields.values()))
    [group] = groups_from_rows([{**fields, **ANSWERS}], format="transcripts").groups
    assert group.prompt == "The thing"


def test_a_prompt_that_only_later_rows_have_is_an_error_there() -> None:
    with pytest.raises(DataError, match="rows:2: the prompt may stand in 'query'"):
        groups_from_rows([ANSWERS, {"query": "Which colour?", **ANSWERS}])


def test_transcripts_that_mark_their_prompt_need_no_column_for_it() -> None:
    start = "\n\nHuman: Hi\n\nAssistant:"
    [text] = groups_from_rows([{"chosen": f"{start} a", "rejected": f"{start} b", "context": "x"}]).groups
    assert text.prompt == start
    answers = [[*TURNS, {"role": "assistant", "content": content}] for content in "45"]
    [turns] = groups_from_rows([{"chosen": answers[0], "rejected": answers[1], "messages": TURNS}]).groups
    assert turns.prompt == (Message("user", "2+2="),)


def test_the_beginning_of_a_review_is_no_prompt_if_a_column_is_given() -> None:
    row = {"question": "Did you like it?", "text": "I like this film a lot.", "label": 1}
    with pytest.raises(DataError, match=r"--columns prompt=question,completion=text"):
        groups_from_rows([row])
    [group] = groups_from_rows([row], columns={"prompt": "question", "completion": "text"}).groups
    assert group.prompt == "Did you like it?"
    assert group.completions[0].desirable


@pytest.mark.parametrize("name", ["prompt_id", "query_length", "input_tokens", "question_type", "source", "lang"])
def test_a_property_of_a_prompt_is_none(name: str) -> None:
    assert list(prompt_columns({name: "three words here"}, ())) == []


@pytest.mark.parametrize(("name", "value"), [("label", False), ("kto_tag", False), ("kto_tag", 0), ("label", "False")])
@pytest.mark.parametrize("layout", ["messages", "prompt", "alpaca", "sharegpt"])
def test_an_answer_that_is_marked_as_bad_is_undesirable(layout: str, name: str, value: Any) -> None:
    fields: dict[str, Any] = {
        "messages": LAYOUTS["demonstrations"],
        "prompt": {"prompt": "2+2=", "completion": "4"},
        "alpaca": {"instruction": "2+2=", "output": "4"},
        "sharegpt": {"conversations": [{"from": "human", "value": "2+2="}, {"from": "gpt", "value": "4"}]},
    }[layout]
    for row in (fields | {name: value}, fields | {name: True}):
        [group] = groups_from_rows([row]).groups
        assert group.completions[0].desirable is (row[name] is True)
