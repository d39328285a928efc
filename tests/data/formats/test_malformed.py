"""Rows of published layouts that cannot be used: the error names the row and the field, and garbage gives no other."""

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preftune.data.formats.format import Format
from preftune.data.formats.table import FORMATS, find_format
from preftune.data.load import groups_from_rows
from preftune.data.rows import BadRow, LeftOut
from preftune.errors import DataError
from preftune.groups import PromptGroup
from tests.data.formats.published import FILES, first_row
from tests.data.formats.rows import read_all

OURS: dict[str, dict[str, Any]] = {
    "pairs": {"prompt": "2+2=", "chosen": "4", "rejected": "5", "margin": 1, "chosen_weights": [[0, 1, 2]]},
    "lists": {"prompt": "2+2=", "completions": ["4", "5"], "scores": [1, 0], "weights": [[[0, 1, 2]], None]},
    "thumbs": {"prompt": "2+2=", "completion": "4", "label": True, "weights": [[0, 1, 2]]},
    "demonstrations": {"messages": [{"role": "user", "content": "2+2="}, {"role": "assistant", "content": "4"}]},
}
GOOD = [*((FILES[file], first_row(file)) for file in FILES), *OURS.items()]
BY_FORMAT = dict(reversed(GOOD))


def items(name: str, *rows: dict[str, Any]) -> list[PromptGroup | BadRow | LeftOut]:
    return read_all(*rows, format_=named(name), first=17)


def named(name: str) -> Format:
    return next(known for known in FORMATS if known.name == name)


def changed(row: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """The row with another value at a path such as `completions.0.response`; `...` takes the field away."""
    found: Any = copy.deepcopy(row)
    whole, [*steps, last] = found, [int(step) if step.isdigit() else step for step in path.split(".")]
    for step in steps:
        found = found[step]
    if value is ...:
        del found[last]
    else:
        found[last] = value
    return whole  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("name", "path", "value", "problem"),
    [
        ("ultrafeedback", "instruction", 4, "field 'instruction' is of type int. It must be text"),
        ("ultrafeedback", "completions", ..., "field 'completions' is missing"),
        ("ultrafeedback", "completions", "4", "field 'completions' is of type str. It must be a list"),
        ("ultrafeedback", "completions.1", "4", "field 'completions[1]' is of type str. It must be an object"),
        ("ultrafeedback", "completions.0.response", None, "field 'completions[0].response' is missing"),
        ("ultrafeedback", "completions.1.response", " ", "field 'completions[1].response' has an empty completion"),
        ("ultrafeedback", "completions.0.overall_score", "good", "field 'completions[0].overall_score' is 'good'"),
        ("nectar", "prompt", None, "field 'prompt' is missing"),
        ("nectar", "answers", [], "field 'answers' is an empty list"),
        ("nectar", "answers.2.rank", None, "field 'answers[2].rank' is of type NoneType. It must be a number"),
        ("nectar", "answers.0.answer", "", "field 'answers[0].answer' has an empty completion"),
        ("summaries", "info", "post", "field 'info' is of type str. It must be an object"),
        ("summaries", "info.post", None, "field 'info.article' is missing"),
        ("summaries", "info.title", 4, "field 'info.title' is of type int. It must be text"),
        ("summaries", "choice", 2, "field 'choice' is 2. It must be a whole number from 0 to 1"),
        ("summaries", "choice", None, "field 'choice' is missing"),
        ("summaries", "choice", 0.5, "field 'choice' is 0.5"),
        ("summaries", "summaries.1", ..., "field 'summaries' has a single item"),
        ("summaries", "summaries.1.text", 4, "field 'summaries[1].text' is of type int"),
        ("summaries", "summaries.0.text", " My cat sleeps on my keyboard, wherever I put it.", "are equal, so"),
        ("shp", "history", None, "field 'history' is missing"),
        ("shp", "human_ref_B", "", "field 'human_ref_B' has an empty completion"),
        ("shp", "labels", 3, "field 'labels' is 3. It must be a whole number from 0 to 1"),
        ("shp", "score_A", "many", "field 'score_A' is 'many'. It must be a number"),
        ("shp", "human_ref_A", "Mine never sticks.", "'human_ref_A' and 'human_ref_B' are equal"),
        ("stack_exchange", "question", ["4"], "field 'question' is of type list. It must be text"),
        ("stack_exchange", "answers.0.pm_score", None, "field 'answers[0].pm_score' is of type NoneType"),
        ("stack_exchange", "answers.1.text", None, "field 'answers[1].text' is missing"),
        ("orca", "question", None, "field 'question' is missing"),
        ("orca", "system", 4, "field 'system' is of type int. It must be text"),
        ("orca", "rejected", "The Nile.", "'chosen' and 'rejected' are equal"),
        ("alpaca_eval", "preference", None, "field 'preference' is missing"),
        ("alpaca_eval", "preference", 2.5, "field 'preference' is 2.5. It must lie between 1"),
        ("alpaca_eval", "preference", float("nan"), "field 'preference' is nan"),
        ("alpaca_eval", "output_2", "", "field 'output_2' has an empty completion"),
        ("alpaca_eval", "output_1", "The Nile.", "'output_2' and 'output_1' are equal"),
        ("alpaca", "instruction", None, "field 'instruction' is missing"),
        ("alpaca", "input", 4, "field 'input' is of type int. It must be text"),
        ("alpaca", "output", "", "field 'output' has an empty completion"),
        ("alpaca", "output", ["a", "b", "c"], "field 'output' is a list of 3"),
        ("alpaca", "output", ["a", 4], "field 'output[1]' is of type int"),
        ("alpaca", "history", [["a"]], "field 'history[0]' is ['a']. It must be [instruction, output]"),
        ("sharegpt", "conversations", [], "field 'conversations' is an empty list"),
        ("sharegpt", "conversations.0", "Hi", "field 'conversations[0]' is of type str. It must be an object"),
        ("sharegpt", "conversations.0.from", 4, "field 'conversations[0].from' is of type int"),
        ("sharegpt", "conversations.0.value", None, "field 'conversations[0].value' is missing"),
        ("sharegpt", "rejected", None, "field 'rejected.value' is missing"),
        ("sharegpt", "chosen.from", "human", "field 'chosen' has a completion that starts with a turn of 'user'"),
        ("message_rows", "message_id", None, "field 'message_id' is missing"),
        ("message_rows", "parent_id", 4, "field 'parent_id' is of type int. It must name a message"),
        ("message_rows", "role", "user", "field 'role' is 'user'. It must be prompter or assistant"),
        ("message_rows", "role", "assistant", "field 'role': the message starts a tree, but is not of a prompter"),
        ("message_rows", "text", None, "field 'text' is missing"),
        ("message_rows", "rank", "best", "field 'rank' is 'best'. It must be a number"),
        ("message_trees", "prompt", "text", "field 'prompt' is of type str. It must be a message"),
        ("message_trees", "prompt.text", None, "field 'prompt.text' is missing"),
        ("message_trees", "prompt.replies", "none", "field 'prompt.replies' is of type str. It must be a list"),
        ("message_trees", "prompt.replies.0.text", " ", "field 'prompt.replies[0].text' has an empty completion"),
        ("message_trees", "prompt.replies.1.rank", [], "field 'prompt.replies[1].rank' is of type list"),
        ("message_trees", "prompt.replies.0.role", "prompter", "the message answers a message of the same role"),
        ("reviews", "text", None, "field 'text' is missing"),
        ("reviews", "text", "A gem. Go!", "field 'text' has 4 words or fewer"),
        ("reviews", "label", 2, "field 'label' is 2. It must be a whole number from 0 to 1"),
        ("comparisons", "completion_1", "", "field 'completion_1' has an empty completion"),
        ("comparisons", "preference", "A", "field 'preference' is 'A'. It must be a number"),
        ("comparisons", "margin", "much", "field 'margin' is 'much'. It must be a number"),
    ],
)
def test_a_malformed_row_is_reported_by_line_and_field(name: str, path: str, value: Any, problem: str) -> None:
    bad = [item for item in items(name, changed(BY_FORMAT[name], path, value)) if isinstance(item, BadRow)]
    assert len(bad) == 1
    assert str(bad[0]).startswith("prefs.jsonl:17: ")
    assert problem in str(bad[0])


def test_every_format_has_a_good_row_here() -> None:
    assert set(BY_FORMAT) == {known.name for known in FORMATS}
    for name, row in GOOD:
        assert any(isinstance(item, PromptGroup) for item in items(name, row)) or name == "message_rows"


@pytest.mark.parametrize("name", [known.name for known in FORMATS if not known.takes_extra_scores])
def test_auxiliary_scores_of_a_format_without_columns_for_them_are_refused(name: str) -> None:
    with pytest.raises(
        DataError, match=rf"^rows: the format '{name}' has no columns for .* --auxiliary asks for safety"
    ):
        groups_from_rows([BY_FORMAT[name]], format=name, extra_scores=("safety",))


garbage = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["prompter", "assistant", "user", "gpt", "1a", "\ud800", "1", " "]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["role", "content", "text", "answer", "rank", "from", "value", "replies", "message_id", "x"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


def paths(value: Any, prefix: str = "") -> list[str]:
    """All paths into a value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = [(f"{prefix}{key}", item) for key, item in inner]
    return [path for key, item in found for path in (key, *paths(item, f"{key}."))]


@pytest.mark.parametrize("name", sorted(BY_FORMAT))
@settings(max_examples=60, deadline=None, database=None)
@given(data=st.data())
def test_garbage_in_a_row_gives_only_a_bad_row(name: str, data: st.DataObject) -> None:
    row = BY_FORMAT[name]
    for _ in range(data.draw(st.integers(1, 3))):
        row = changed(row, data.draw(st.sampled_from(paths(row) or ["x"])), data.draw(garbage))
    for item in items(name, row, BY_FORMAT[name]):
        assert isinstance(item, PromptGroup | BadRow | LeftOut)
        assert item.origin.row in (17, 18)


@pytest.mark.parametrize("name", sorted(BY_FORMAT))
@settings(max_examples=60, deadline=None, database=None)
@given(data=st.data())
def test_rows_of_garbage_give_only_bad_rows(name: str, data: st.DataObject) -> None:
    columns = st.sampled_from(sorted(named(name).columns()))
    rows = data.draw(st.lists(st.dictionaries(columns, garbage, max_size=8), min_size=1, max_size=4))
    extra = data.draw(st.sampled_from([(), ("safety",)]))
    for item in read_all(*rows, format_=named(name), extra_scores=extra):
        assert isinstance(item, PromptGroup | BadRow | LeftOut)


def test_a_named_format_needs_its_columns() -> None:
    with pytest.raises(DataError, match=r"nectar needs prompt, answers\. The columns are: prompt, text"):
        find_format("nectar", ["prompt", "text"])
