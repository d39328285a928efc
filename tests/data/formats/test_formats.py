"""Row layouts: how fields become groups, and what is said of rows that cannot."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preftune.data.formats.table import FORMATS, find_format, recognise
from preftune.errors import DataError
from preftune.groups import Message, Origin, Pair
from tests.data.formats.rows import contents, read

USER = {"role": "user", "content": "2+2="}
FOUR = {"role": "assistant", "content": "4"}
FIVE = {"role": "assistant", "content": "5"}
QUESTION = (Message("user", "2+2="),)


def answers(*texts: str) -> list[tuple[Message, ...]]:
    return [(Message("assistant", text),) for text in texts]


@pytest.mark.parametrize(
    ("columns", "name"),
    [
        (["prompt", "chosen", "rejected", "messages"], "pairs"),
        (["chosen", "rejected"], "transcripts"),
        (["prompt", "completion", "id"], "demonstrations"),
        (["messages"], "demonstrations"),
    ],
)
def test_a_format_is_recognised_by_its_columns(columns: list[str], name: str) -> None:
    assert recognise(columns).name == name


def test_columns_of_no_format_are_an_error_that_lists_all_formats_and_how_to_map() -> None:
    with pytest.raises(DataError) as caught:
        recognise(["prompt", "better", "worse"], source="prefs.jsonl")
    text = str(caught.value)
    assert text.startswith("prefs.jsonl: no format has these columns: prompt, better, worse.")
    assert all(f"{known.name} needs" in text for known in FORMATS)
    assert "pairs needs prompt, chosen, rejected\n" in text
    assert "demonstrations needs prompt, completion; or messages\n" in text
    assert "--columns chosen=better,rejected=worse" in text


def test_an_unknown_format_is_an_error_that_lists_the_names() -> None:
    with pytest.raises(
        DataError, match=r"no format 'pears'. The formats are: pairs, lists, thumbs, .* Name one of them with --form"
    ):
        find_format("pears", ["chosen"])


def test_a_named_format_that_lacks_columns_is_an_error() -> None:
    with pytest.raises(DataError, match=r"pairs needs prompt, chosen, rejected. The columns are: chosen"):
        find_format("pairs", ["chosen"])
    assert find_format("demonstrations", ["messages", "chosen", "rejected"]).name == "demonstrations"


def test_a_pair_of_texts_is_a_group_of_two_completions() -> None:
    group = read(prompt="2+2=", chosen="4", rejected="5", margin=0.5, score_chosen=3, score_rejected="1.5")
    assert (group.prompt, contents(group)) == ("2+2=", ["4", "5"])
    assert group.pairs == (Pair(0, 1, 0.5),)
    assert [completion.score for completion in group.completions] == [3.0, 1.5]
    assert group.origin == Origin("prefs.jsonl", 17)


def test_scores_may_be_named_the_other_way_round_and_may_be_blank() -> None:
    group = read(prompt="2+2=", chosen="4", rejected="5", chosen_score=2, rejected_score="", margin=None)
    assert [completion.score for completion in group.completions] == [2.0, None]
    assert group.pairs[0].margin is None


@pytest.mark.parametrize(
    ("prompt", "chosen", "rejected"),
    [
        ([USER], [FOUR], [FIVE]),
        ([USER], "4", "5"),
        ("2+2=", [FOUR], [FIVE]),
        ([USER], [USER, FOUR], [USER, FIVE]),
        ("2+2=", [USER, FOUR], [USER, FIVE]),
        ("2+2= \n", [USER, FOUR], [USER, FIVE]),
    ],
)
def test_a_conversation_may_repeat_its_prompt_or_give_parts_as_text(prompt: Any, chosen: Any, rejected: Any) -> None:
    group = read(prompt=prompt, chosen=chosen, rejected=rejected)
    assert (group.prompt, contents(group)) == (QUESTION, answers("4", "5"))


def test_repeated_conversations_share_all_turns_up_to_the_first_different_answer() -> None:
    system = {"role": "system", "content": "Be brief."}
    again = {"role": "user", "content": "Sure?"}
    group = read(prompt="2+2=", chosen=[system, USER, FOUR, again, FOUR], rejected=[system, USER, FOUR, again, FIVE])
    assert [message.content for message in group.prompt if isinstance(message, Message)] == [
        "Be brief.",
        "2+2=",
        "4",
        "Sure?",
    ]
    assert contents(group) == answers("4", "5")


def test_only_one_side_that_repeats_the_prompt_is_an_error() -> None:
    with pytest.raises(DataError, match=r"prefs.jsonl:17: field 'rejected' does not start with the prompt"):
        read(prompt=[USER], chosen=[USER, FOUR], rejected=[FIVE])


def test_further_fields_of_messages_are_kept_and_empty_ones_of_tables_are_not() -> None:
    call = {"role": "assistant", "content": None, "tool_calls": [{"name": "add"}], "name": None}
    group = read(prompt=[USER], chosen=[call], rejected=[FIVE])
    assert contents(group)[0] == (Message("assistant", "", {"tool_calls": [{"name": "add"}]}),)


def test_text_parts_of_a_message_are_joined() -> None:
    parts = {"role": "user", "content": [{"type": "text", "text": "2+"}, {"type": "text", "text": "2="}]}
    assert read(prompt=[parts], chosen="4", rejected="5").prompt == QUESTION


def test_a_transcript_of_hh_is_cut_after_the_last_shared_assistant_marker() -> None:
    start = "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: 2+2=\n\nAssistant:"
    group = read(chosen=start + " It is 4", rejected=start + " It is 5\n\nHuman: No\n\nAssistant: Oh")
    assert group.prompt == start
    assert contents(group) == [" It is 4", " It is 5\n\nHuman: No\n\nAssistant: Oh"]


@pytest.mark.parametrize(
    ("chosen", "rejected", "prompt"),
    [
        ("The sky is blue", "The sky is bleak", "The sky is"),
        ("The sky  is", "The sky  was", "The sky"),
        ("The sky\nis", "The sky was", "The sky"),
        ("Tell me more", "Tell me more please", "Tell me"),
    ],
)
def test_other_transcripts_are_cut_at_the_end_of_a_shared_word(chosen: str, rejected: str, prompt: str) -> None:
    group = read(chosen=chosen, rejected=rejected)
    assert group.prompt == prompt
    assert contents(group) == [chosen[len(prompt) :], rejected[len(prompt) :]]


@settings(max_examples=100, deadline=None, database=None)
@given(st.text(" ab\n", max_size=12), st.text(" ab\n", max_size=6), st.text(" ab\n", max_size=6))
def test_a_transcript_is_its_prompt_and_its_completion(start: str, chosen: str, rejected: str) -> None:
    try:
        group = read(chosen=start + chosen, rejected=start + rejected)
    except DataError:
        return
    assert [group.prompt + content for content in contents(group)] == [start + chosen, start + rejected]
    assert all(content[0].isspace() for content in contents(group))


def test_transcripts_of_messages_share_turns_up_to_an_assistant_turn() -> None:
    group = read(chosen=[USER, FOUR], rejected=[USER, FIVE])
    assert (group.prompt, contents(group)) == (QUESTION, answers("4", "5"))
    other = {"role": "user", "content": "Why?"}
    group = read(chosen=[USER, FOUR, USER, FIVE], rejected=[USER, FOUR, other, FIVE])
    assert group.prompt == QUESTION


@pytest.mark.parametrize(
    ("chosen", "rejected"),
    [("Yes", "No"), ([USER, FOUR], [{"role": "user", "content": "3+1="}, FOUR]), ([FOUR], [FIVE])],
)
def test_transcripts_without_a_shared_start_are_an_error(chosen: Any, rejected: Any) -> None:
    with pytest.raises(DataError, match=r"prefs.jsonl:17: .*share no start .*or the prompt must be a separate field"):
        read(chosen=chosen, rejected=rejected)


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt": [USER], "completion": [FOUR]},
        {"prompt": "2+2=", "completion": [FOUR]},
        {"prompt": [USER], "completion": "4"},
        {"messages": [USER, FOUR]},
    ],
)
def test_a_demonstration_is_one_completion_without_pairs(fields: dict[str, Any]) -> None:
    group = read(**fields)
    assert (group.prompt, contents(group), group.pairs) == (QUESTION, answers("4"), ())


def test_a_demonstration_of_text_stays_text() -> None:
    group = read(prompt="2+2=", completion="4")
    assert (group.prompt, contents(group)) == ("2+2=", ["4"])


def test_of_several_turns_the_last_is_the_completion() -> None:
    group = read(messages=[USER, FIVE, USER, FOUR])
    assert contents(group) == answers("4")
    assert len(group.prompt) == 3


PAIR = {"prompt": "2+2=", "chosen": "4", "rejected": "5"}


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        (PAIR | {"chosen": None}, "field 'chosen' is missing"),
        (PAIR | {"chosen": 4}, "field 'chosen' is of type int. It must be text or a list of messages"),
        (PAIR | {"chosen": ""}, "field 'chosen' has an empty completion"),
        (PAIR | {"rejected": " \n"}, "field 'rejected' has an empty completion"),
        (PAIR | {"rejected": "4"}, "'chosen' and 'rejected' are equal"),
        (PAIR | {"prompt": "\ud800"}, "field 'prompt' holds half of a surrogate pair"),
        (PAIR | {"margin": float("nan")}, "field 'margin' is nan. It must be a finite number"),
        (PAIR | {"margin": True}, "field 'margin' is of type bool. It must be a number"),
        (PAIR | {"margin": "much"}, "field 'margin' is 'much'. It must be a number"),
        (PAIR | {"margin": 10**400}, "field 'margin' is .*It must be a number"),
        (PAIR | {"score_chosen": float("inf")}, "field 'score_chosen' is inf"),
        (PAIR | {"rejected_score": [1]}, "field 'rejected_score' is of type list"),
        (PAIR | {"prompt": []}, "field 'prompt' is an empty list"),
        (PAIR | {"prompt": ["2+2="]}, r"field 'prompt\[0\]' is of type str. A message is an object"),
        (PAIR | {"prompt": [{"content": "2+2="}]}, r"field 'prompt\[0\]' has the role None"),
        (PAIR | {"prompt": [{"role": "user"}]}, r"field 'prompt\[0\]' has no content"),
        (PAIR | {"prompt": [{"role": "user", "content": 4}]}, r"field 'prompt\[0\]' has content of type int"),
        (
            PAIR | {"prompt": [{"role": "user", "content": [{"type": "image_url"}]}]},
            r"field 'prompt\[0\].content\[0\]' is a part of type 'image_url'",
        ),
        (PAIR | {"prompt": [{"role": "user", "content": "\ud800"}]}, r"field 'prompt\[0\]' holds half of a surrogate"),
        (PAIR | {"prompt": [USER], "chosen": [{"role": "assistant", "content": ""}]}, "'chosen' has an empty compl"),
        (PAIR | {"prompt": [USER], "chosen": [{"role": "tool", "content": "4"}]}, "starts with a turn of 'tool'"),
        ({"chosen": "The 4", "rejected": [FOUR]}, "field 'rejected' is not of the kind of 'chosen'"),
        ({"prompt": "2+2=", "completion": ""}, "field 'completion' has an empty completion"),
        ({"messages": "2+2="}, "field 'messages' is text"),
        ({"messages": [USER]}, "field 'messages' ends with a turn of 'user'"),
        ({"messages": [FOUR]}, "field 'messages' has a single turn"),
    ],
)
def test_a_row_that_cannot_be_used_is_an_error_that_names_line_and_field(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(DataError, match=rf"^prefs\.jsonl:17: .*{problem}"):
        read(**fields)
