"""Trees of messages, a row each or a tree each."""

from collections.abc import Iterator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from preftune.data.formats.table import recognise
from preftune.data.load import groups_from_rows
from preftune.data.rows import BadRow, LeftOut, Row, RowStream
from preftune.groups import Origin, PromptGroup
from tests.data.formats.rows import read_all


def message(name: str, parent: str | None, rank: float | None = None, **fields: Any) -> dict[str, Any]:
    """A message; names of answers are lower case, those of what people ask upper case."""
    role = "prompter" if name.isupper() else "assistant"
    tree = fields.pop("tree", "t")
    return {
        "message_id": name,
        "parent_id": parent,
        "role": role,
        "text": f"text of {name}",
        "rank": rank,
        "message_tree_id": tree,
        **fields,
    }


TREE = [
    message("A", None),
    message("b", "A", 1),
    message("C", "b"),
    message("d", "C"),
    message("e", "A", 0),
    message("F", "e"),
    message("g", "F", 0),
    message("h", "F", 1),
    message("i", "F", 2),
]
FORMAT = recognise(TREE[0])


def groups(*rows: dict[str, Any], can_reopen: bool = True) -> list[PromptGroup]:
    items = read_all(*rows, format_=FORMAT, can_reopen=can_reopen)
    return [item for item in items if isinstance(item, PromptGroup)]


def others(*rows: dict[str, Any]) -> list[tuple[int, str]]:
    """Rows that gave no group, and why."""
    items = read_all(*rows, format_=FORMAT)
    left = [(item.origin.row, item.reason) for item in items if isinstance(item, LeftOut)]
    return left + [(item.origin.row, item.problem) for item in items if isinstance(item, BadRow)]


def story(group: PromptGroup) -> tuple[str, dict[str, float | None]]:
    """The names of the conversation's messages, and the scores of its answers by name."""
    prompt = "".join(turn.content[-1] for turn in group.prompt if not isinstance(turn, str))
    return prompt, {str(done.weighted_text)[-1]: done.score for done in group.completions}


STORIES = [
    ("A", {"b": -1.0, "e": 0.0}),
    ("AbC", {"d": 0.0}),
    ("AeF", {"g": 0.0, "h": -1.0, "i": -2.0}),
]


def test_each_message_that_was_answered_is_a_list_with_the_conversation_before_it() -> None:
    found = groups(*TREE)
    assert [story(group) for group in found] == STORIES
    assert [group.origin.row for group in found] == [1, 3, 6]
    assert [turn.role for turn in found[1].prompt if not isinstance(turn, str)] == ["user", "assistant", "user"]


@settings(max_examples=60, deadline=None, database=None)
@given(order=st.permutations(range(len(TREE))), can_reopen=st.booleans())
def test_the_order_of_rows_makes_no_difference(order: list[int], can_reopen: bool) -> None:
    found = groups(*(TREE[index] for index in order), can_reopen=can_reopen)
    assert sorted(prompt for prompt, _ in map(story, found)) == ["A", "AbC", "AeF"]
    assert all((prompt, answers) in STORIES for prompt, answers in map(story, found))


def renamed(rows: list[dict[str, Any]], tree: str) -> list[dict[str, Any]]:
    """The same tree under other names."""
    return [
        row
        | {"message_tree_id": tree, "message_id": tree + row["message_id"]}
        | {"parent_id": None if row["parent_id"] is None else tree + row["parent_id"]}
        for row in rows
    ]


def test_mixed_trees_are_separated() -> None:
    first, second = renamed(TREE, "1"), renamed(TREE, "2")
    mixed = [row for pair in zip(first, second, strict=True) for row in pair]
    assert [story(group) for group in groups(*mixed)] == [one for one in STORIES for _ in range(2)]
    assert [story(group) for group in groups(*first, *second)] == STORIES * 2


def test_rows_without_the_name_of_their_tree_are_read_all_the_same() -> None:
    bare = [{key: value for key, value in row.items() if key != "message_tree_id"} for row in TREE]
    assert [story(group) for group in groups(*bare)] == STORIES


def stream_of(rows: list[dict[str, Any]], log: list[int]) -> RowStream:
    def opened() -> Iterator[Row]:
        for number, fields in enumerate(rows, start=1):
            log.append(number)
            yield Row(Origin("trees", number), fields)

    return RowStream(opened(), opened, lambda row: row)


def test_of_trees_that_stand_together_only_one_is_held() -> None:
    log: list[int] = []
    rows = [row for number in range(50) for row in renamed(TREE, f"{number}.")]
    items = FORMAT.read(stream_of(rows, log), ())
    next(items)
    assert len(log) <= len(rows) + len(TREE) + 1  # once to see that they stand together, then the first tree
    assert sum(isinstance(item, PromptGroup) for item in items) == 50 * len(STORIES) - 1


def test_rows_that_come_once_are_read_once() -> None:
    loaded = groups_from_rows(iter(TREE))
    assert [story(group) for group in loaded.groups] == STORIES
    assert loaded.num_rows == len(TREE)


def test_a_message_whose_parent_is_not_there_is_left_out_with_all_that_follows() -> None:
    assert others(*TREE[:4], message("j", "K"), message("L", "j")) == [
        (5, "parent of the message is missing"),
        (6, "parent of the message is missing"),
    ]


def test_messages_that_answer_each_other_in_a_ring_end_no_loop() -> None:
    assert others(message("A", "b"), message("b", "A")) == [
        (1, "parent of the message is missing"),
        (2, "parent of the message is missing"),
    ]


def test_a_deleted_message_takes_its_answers_along() -> None:
    rows = [row | {"deleted": row["message_id"] == "e"} for row in TREE]
    assert [prompt for prompt, _ in map(story, groups(*rows))] == ["A", "AbC"]
    assert (5, "deleted message") in others(*rows)
    assert (6, "parent of the message is missing") in others(*rows)


def test_answers_without_a_rank_are_left_out_unless_there_is_one_only() -> None:
    ranked, bare, single = message("b", "A", 0), message("c", "A"), message("d", "A")
    assert [story(group) for group in groups(message("A", None), ranked, bare)] == [("A", {"b": 0.0})]
    assert others(message("A", None), ranked, bare) == [(3, "answer without a rank")]
    assert others(message("A", None), bare, single) == [(1, "answers without ranks")]
    assert [story(group) for group in groups(message("A", None), bare)] == [("A", {"c": 0.0})]
    assert others(message("A", None)) == [(1, "message without an answer")]


def test_a_name_that_two_messages_have_is_a_bad_row() -> None:
    [bad] = others(message("A", None), message("b", "A"), message("b", "A"))
    assert bad == (3, "field 'message_id' is 'b', as in another message.")


def nested(name: str) -> dict[str, Any]:
    """A message of `TREE` with its answers inside."""
    node = next(row for row in TREE if row["message_id"] == name)
    kept = {key: value for key, value in node.items() if key not in ("message_tree_id", "parent_id")}
    return kept | {"replies": [nested(row["message_id"]) for row in TREE if row["parent_id"] == name]}


def test_a_tree_in_a_row_is_the_same_as_its_messages_in_rows() -> None:
    row = {"message_tree_id": "t", "tree_state": "ready_for_export", "prompt": nested("A")}
    found = read_all(row, format_=recognise(row))
    assert sorted(map(repr, (story(item) for item in found if isinstance(item, PromptGroup)))) == sorted(
        map(repr, STORIES)
    )


def test_a_tree_may_be_deep() -> None:
    node: dict[str, Any] = {"message_id": "end", "role": "prompter", "text": "?", "replies": None}
    for depth in range(900):
        role = "prompter" if depth % 2 else "assistant"
        node = {"message_id": str(depth), "role": role, "text": "!", "replies": [node]}
    row = {"message_tree_id": "t", "prompt": node}
    found = read_all(row, format_=recognise(row))
    assert sum(isinstance(item, PromptGroup) for item in found) == 450
