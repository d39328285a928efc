"""Data of any layout as rows of another, and back."""

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preftune.data.conversations import conversation_of
from preftune.data.convert import TARGETS, Conversion, Converter
from preftune.data.load import groups_from_rows
from preftune.data.rows import BadRow, LeftOut
from preftune.data.views import Pairing, PairRule
from preftune.errors import ConfigError, DataError
from preftune.groups import Completion, Message, Origin, Pair, PromptGroup, TemplateInputs, Text, WeightedSpan
from tests.data.groups import paired, scored, thumbed

ORIGIN = Origin("rows", 1)


def rows(target: str, *groups: PromptGroup, pairing: Pairing | None = None) -> list[dict[str, Any]]:
    return list(Converter(target, PairRule(pairing)).rows(groups, Conversion()))


def there_and_back(target: str, groups: Iterable[PromptGroup], **reading: Any) -> list[PromptGroup]:
    """Groups as read again of the rows they became, by way of JSON, without their origins."""
    converter = Converter(target, extra_scores=reading.get("extra_scores", ()))
    lines = [json.dumps(row) for row in converter.rows(groups, Conversion())]
    return [bare(group) for group in groups_from_rows(map(json.loads, lines), **reading).groups]


def bare(group: PromptGroup) -> PromptGroup:
    return replace(group, origin=ORIGIN)


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(lambda text: text.strip())
numbers = st.floats(allow_nan=False, allow_infinity=False)
calls = st.just({"tool_calls": [{"type": "function", "function": {"name": "add", "arguments": {"a": 1, "b": None}}}]})
extras: st.SearchStrategy[dict[str, Any]] = st.just({}) | calls
conversations = st.lists(
    st.builds(Message, st.sampled_from(["user", "tool"]), texts, extras), min_size=1, max_size=3
).map(tuple)
answers = st.builds(lambda text, extra: (Message("assistant", text, extra),), texts, extras)
longer_answers = answers | st.builds(lambda first, then: (*first, *then), answers, conversations)


def spans(content: str) -> st.SearchStrategy[tuple[WeightedSpan, ...]]:
    span = st.builds(WeightedSpan, st.just(0), st.integers(1, len(content)), st.floats(0, 8))
    return st.just(()) | st.tuples(span)


@st.composite
def completions(draw: st.DrawFn, /, is_text: bool, **known: st.SearchStrategy[Any]) -> Completion:
    content: Text = draw(texts) if is_text else draw(longer_answers)
    first = content if isinstance(content, str) else content[0].content
    values = {name: draw(strategy) for name, strategy in known.items()}
    return Completion(content, weights=draw(spans(first)), **values)


@st.composite
def groups_of(draw: st.DrawFn, /, number: st.SearchStrategy[int], **known: st.SearchStrategy[Any]) -> PromptGroup:
    is_text = draw(st.booleans())
    prompt: Text = draw(texts) if is_text else draw(conversations)
    wanted = draw(number)
    found = draw(
        st.lists(
            completions(is_text, **known), min_size=wanted, max_size=wanted, unique_by=lambda done: repr(done.content)
        )
    )
    return PromptGroup(prompt, tuple(found), (), ORIGIN)


@st.composite
def pairs(draw: st.DrawFn) -> PromptGroup:
    group = draw(groups_of(st.just(2), score=st.none() | numbers, extra_scores=st.just({"safety": 2.0})))
    return replace(group, pairs=(Pair(0, 1, draw(st.none() | numbers)),))


@settings(max_examples=150, deadline=None, database=None)
@given(st.lists(pairs(), min_size=1, max_size=3))
def test_pairs_written_and_read_again_are_the_same(groups: list[PromptGroup]) -> None:
    assert there_and_back("pairs", groups, extra_scores=["safety"]) == groups


@settings(max_examples=150, deadline=None, database=None)
@given(
    st.lists(groups_of(st.integers(1, 4), score=numbers, extra_scores=st.just({"wit": 1.0})), min_size=1, max_size=3)
)
def test_lists_written_and_read_again_are_the_same(groups: list[PromptGroup]) -> None:
    assert there_and_back("lists", groups, extra_scores=["wit"]) == groups


@settings(max_examples=150, deadline=None, database=None)
@given(st.lists(groups_of(st.just(1), desirable=st.booleans()), min_size=1, max_size=3))
def test_thumbs_written_and_read_again_are_the_same(groups: list[PromptGroup]) -> None:
    assert there_and_back("thumbs", groups) == groups


@settings(max_examples=150, deadline=None, database=None)
@given(st.lists(groups_of(st.just(1)), min_size=1, max_size=3))
def test_demonstrations_written_and_read_again_are_the_same_but_for_weights(groups: list[PromptGroup]) -> None:
    [plain] = [[replace(group, completions=(replace(group.completions[0], weights=()),)) for group in groups]]
    assert there_and_back("demonstrations", groups) == plain


@settings(max_examples=100, deadline=None, database=None)
@given(st.lists(pairs(), min_size=1, max_size=3))
def test_columns_of_trl_hold_the_texts_and_nothing_else(groups: list[PromptGroup]) -> None:
    preferences = [row for group in groups for row in rows("trl-preference", group)]
    assert all(set(row) == {"prompt", "chosen", "rejected"} for row in preferences)
    unpaired = [row for group in groups for row in rows("trl-unpaired", group)]
    assert all(set(row) == {"prompt", "completion", "label"} for row in unpaired)
    assert [row["label"] for row in unpaired] == [True, False] * len(groups)
    again = there_and_back("trl-preference", groups)
    assert [[done.content for done in group.completions] for group in again] == [
        [done.content for done in group.completions] for group in groups
    ]


@settings(max_examples=100, deadline=None, database=None)
@given(st.lists(pairs(), min_size=1, max_size=3))
def test_pairs_become_the_same_thumbs_on_every_way(groups: list[PromptGroup]) -> None:
    direct = rows("trl-unpaired", *groups)
    assert rows("trl-unpaired", *there_and_back("pairs", groups)) == direct


@pytest.mark.parametrize(
    ("pairing", "found"),
    [
        ("all", [("c", "a"), ("c", "b"), ("a", "b")]),
        ("best_vs_worst", [("c", "b")]),
        ("adjacent", [("c", "a"), ("a", "b")]),
    ],
)
def test_lists_become_pairs_by_a_rule(pairing: Pairing, found: list[tuple[str, str]]) -> None:
    written = rows("pairs", scored(2.0, 1.0, 4.0), pairing=pairing)
    assert [(row["chosen"], row["rejected"]) for row in written] == found
    assert all(row["margin"] == row["score_chosen"] - row["score_rejected"] for row in written)


def test_a_group_of_several_pairs_becomes_as_many_rows() -> None:
    assert rows("trl-preference", paired((0, 1), (2, 1), number=3)) == [
        {"prompt": "?", "chosen": "a", "rejected": "b"},
        {"prompt": "?", "chosen": "c", "rejected": "b"},
    ]


def test_a_pair_becomes_a_list_and_the_best_become_demonstrations() -> None:
    assert rows("lists", paired((1, 0))) == [{"prompt": "?", "completions": ["a", "b"], "scores": [0.0, 1.0]}]
    assert rows("demonstrations", paired((1, 0)), thumbed(False, row=2)) == [{"prompt": "?", "completion": "b"}]


def test_what_is_left_out_is_counted_with_its_reason_and_its_first_places() -> None:
    conversion = Conversion()
    items: list[PromptGroup | BadRow | LeftOut] = [
        scored(1.0, 1.0, 2.0),
        *(LeftOut(Origin("rows", row), "not lang=en") for row in range(2, 7)),
        BadRow(Origin("rows", 7), "the line is not UTF-8."),
        thumbed(True, row=8),
    ]
    converter = Converter("pairs", skips_bad_rows=True)
    assert len(list(converter.rows(items, conversion))) == conversion.num_written == 2
    assert conversion.num_groups == 2
    assert conversion.left_out == {
        "pairs have equal scores": 1,
        "not lang=en": 5,
        "rows cannot be used": 1,
        "prompts: each has no pair of a chosen and a rejected completion": 1,
    }
    assert [origin.row for origin in conversion.places["not lang=en"]] == [2, 3, 4]


def test_a_bad_row_ends_the_conversion_unless_such_rows_are_skipped() -> None:
    with pytest.raises(
        DataError, match=r"rows:1: the line is not UTF-8\. Fix the row, or skip such rows with --on-bad"
    ):
        list(Converter("pairs").rows([BadRow(ORIGIN, "the line is not UTF-8.")], Conversion()))


@pytest.mark.parametrize(
    ("target", "group", "way_out"),
    [
        ("pairs", thumbed(True), r"The first prompt can become: thumbs, demonstrations, trl-unpaired\."),
        ("thumbs", scored(1.0, 2.0), r"Or make pairs of its scores with --pairing\."),
        ("lists", paired((0, 1), (1, 2), number=3), "can become: pairs, thumbs, demonstrations, trl-preference"),
    ],
)
def test_nothing_to_write_is_an_error_that_says_what_would_do(target: str, group: PromptGroup, way_out: str) -> None:
    with pytest.raises(
        DataError, match=rf"no row could be converted to {target}: 1 prompts: .*, such as rows:1.*{way_out}"
    ):
        rows(target, group)


@pytest.mark.parametrize(
    ("target", "rule", "scores", "problem"),
    [
        ("json", PairRule(), (), "to = json: must be one of pairs, thumbs, lists"),
        ("lists", PairRule("all"), (), "pairing: nothing is paired for lists"),
        ("demonstrations", PairRule(min_score_gap=1.0), (), "pairing: nothing is paired for demonstrations"),
        ("thumbs", PairRule(), ("wit",), "score: thumbs has no columns for wit"),
    ],
)
def test_settings_that_do_not_go_together_are_an_error(
    target: str, rule: PairRule, scores: tuple[str, ...], problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        Converter(target, rule, scores)


def test_a_rule_for_data_that_need_none_is_an_error() -> None:
    with pytest.raises(ConfigError, match="pairing: rows:1 already has thumbs"):
        rows("thumbs", thumbed(True), pairing="all")


def test_a_target_for_each_kind_of_feedback() -> None:
    assert {target.feedback for target in TARGETS.values()} == {"pairs", "thumbs", "lists", "demonstrations", None}


@settings(max_examples=60, deadline=None, database=None)
@given(st.lists(pairs(), min_size=1, max_size=3) | st.lists(groups_of(st.just(1)), min_size=1, max_size=3))
def test_anything_becomes_messages_and_is_read_as_the_same_turns(groups: list[PromptGroup]) -> None:
    for row in rows("messages", *groups):
        assert not any(isinstance(row.get(name), str) for name in ("prompt", "chosen", "rejected", "completion"))
    assert there_and_back("messages", groups) == [
        bare(replace(found, completions=tuple(replace(one, extra_scores={}) for one in found.completions)))
        if found.pairs
        else bare(replace(found, completions=tuple(map(_without_feedback, found.completions))))
        for found in map(conversation_of, groups)
    ]


def _without_feedback(completion: Completion) -> Completion:
    return Completion(completion.content)


def test_transcripts_lists_and_thumbs_become_messages_with_their_feedback() -> None:
    transcript = PromptGroup(
        "\n\nHuman: 2+2?\n\nAssistant:", (Completion(" 4"), Completion(" 5")), (Pair(0, 1),), ORIGIN
    )
    user, four, five = (
        {"role": role, "content": text} for role, text in [("user", "2+2?"), ("assistant", "4"), ("assistant", "5")]
    )
    assert rows("messages", transcript) == [{"prompt": [user], "chosen": [four], "rejected": [five]}]
    liked = PromptGroup("2+2?", (Completion("4", desirable=True),), (), ORIGIN)
    assert rows("messages", liked) == [{"prompt": [user], "completion": [four], "label": True}]
    ranked = PromptGroup("2+2?", (Completion("4", 2.0), Completion("5", 1.0)), (), ORIGIN)
    assert rows("messages", ranked) == [{"prompt": [user], "completions": [[four], [five]], "scores": [2.0, 1.0]}]
    assert rows("messages", ranked, pairing="all")[0] | {"margin": 1.0} == rows("messages", ranked, pairing="all")[0]
    plain = PromptGroup("2+2?", (Completion("4"),), (), ORIGIN)
    assert rows("messages", plain) == [{"messages": [user, four]}]
    assert list(Converter("demonstrations", chat="on").rows([plain], Conversion())) == [
        {"prompt": [user], "completion": [four]}
    ]
    assert list(Converter("demonstrations").rows([plain], Conversion())) == [{"prompt": "2+2?", "completion": "4"}]
    with pytest.raises(ConfigError, match="chat = off: keeps text as it is"):
        Converter("messages", chat="off")


def test_rendered_prompts_are_left_out_of_messages_and_counted() -> None:
    conversion = Conversion()
    groups = [
        PromptGroup(prompt, (Completion("4"),), (), Origin("rows", row))
        for row, prompt in enumerate(["2+2?", "<|im_start|>user\n2+2?<|im_end|>\n<|im_start|>assistant\n"], start=1)
    ]
    assert len(list(Converter("messages").rows(groups, conversion))) == 1
    [(reason, count)] = conversion.left_out.items()
    assert count == 1
    assert "a chat template has rendered, with <|im_start|>" in reason


def test_tools_and_variables_of_the_template_are_written_and_read_again() -> None:
    inputs = TemplateInputs(({"name": "add", "parameters": {"a": 1}},), {"enable_thinking": False})
    group = PromptGroup("2+2?", (Completion("4"), Completion("5")), (Pair(0, 1),), ORIGIN, inputs)
    for target in ("pairs", "messages", "trl-preference"):
        assert [found.inputs for found in there_and_back(target, [group])] == [inputs]
    assert [found.inputs for found in there_and_back("demonstrations", [group])] == [inputs]
