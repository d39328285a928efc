"""Every published layout: what its rows become."""

from collections.abc import Sequence

import datasets
import pytest

from preftune.data.formats.table import FORMATS, recognise
from preftune.data.load import LoadedGroups, groups_from_rows, load_groups
from preftune.data.rows import Row
from preftune.data.sources import read_rows
from preftune.groups import Message, Pair, PromptGroup, Text
from tests.data.formats.published import FILES, first_row, path_of

RIVER = (Message("user", "Name a river in Egypt."),)


def loaded(file: str) -> LoadedGroups:
    return load_groups(path_of(file))


def texts(group: PromptGroup) -> list[str]:
    """The completions, whose turns are the assistant's alone."""
    found = [completion.content for completion in group.completions]
    return [content if isinstance(content, str) else only_content(content) for content in found]


def only_content(content: Sequence[Message]) -> str:
    [message] = content
    assert message.role == "assistant"
    return message.content


def scores(group: PromptGroup) -> list[float | None]:
    return [completion.score for completion in group.completions]


def turns(prompt: Text) -> list[tuple[str, str]]:
    assert not isinstance(prompt, str)
    return [(message.role, message.content) for message in prompt]


@pytest.mark.parametrize("file", FILES)
def test_every_file_is_recognised_by_its_columns(file: str) -> None:
    assert recognise(list(first_row(file))).name == FILES[file]


@pytest.mark.parametrize("file", FILES)
def test_what_datasets_makes_of_a_file_is_read_alike(file: str) -> None:
    rows = [dict(row.fields) for row in read_rows(path_of(file)) if isinstance(row, Row)]

    def without_origin(group: PromptGroup) -> object:
        return group.prompt, group.completions, group.pairs

    of_dataset = groups_from_rows(datasets.Dataset.from_list(rows)).groups
    assert [*map(without_origin, of_dataset)] == [*map(without_origin, loaded(file).groups)]


def test_all_formats_of_others_have_a_published_file() -> None:
    ours = {"pairs", "lists", "thumbs", "demonstrations"}
    assert {known.name for known in FORMATS} - ours == set(FILES.values())


def test_ultrafeedback_is_a_list_by_overall_score_and_rows_without_completions_are_left_out() -> None:
    found = loaded("ultrafeedback.jsonl")
    [group] = found.groups
    assert (group.prompt, texts(group), scores(group)) == (RIVER, ["A long one.", "The Nile."], [3.0, 9.0])
    assert [str(row) for row in found.left_out] == [f"{path_of('ultrafeedback.jsonl')}:2: no completions"]
    assert found.num_rows == 2


def test_ratings_of_ultrafeedback_are_further_scores() -> None:
    group = load_groups(path_of("ultrafeedback.jsonl"), extra_scores=["helpfulness", "truthfulness"]).groups[0]
    assert [completion.extra_scores for completion in group.completions] == [
        {"helpfulness": 2.0, "truthfulness": 5.0},
        {"helpfulness": 5.0, "truthfulness": 5.0},
    ]


def test_nectar_is_a_list_by_rank_and_its_transcripts_stay() -> None:
    [group] = loaded("nectar.jsonl").groups
    assert group.prompt == "\n\nHuman: Name a river in Egypt. \n\nAssistant: "
    assert texts(group) == ["The Nile.", "The river Nile, I think.", "The Rhine."]
    assert scores(group) == [-1.0, -2.0, -3.0]


def test_summaries_are_pairs_after_the_prompt_of_the_paper() -> None:
    post, article = loaded("summaries.jsonl").groups
    assert post.prompt == (
        "SUBREDDIT: r/pets\n\nTITLE: Cat [3F] will not leave my keyboard\n\nPOST: My cat sleeps on my keyboard every "
        "morning. I moved the keyboard. She moved, too.\n\nTL;DR:"
    )
    assert (texts(post)[1], post.pairs) == (" My cat sleeps on my keyboard, wherever I put it.", (Pair(1, 0),))
    assert article.prompt == ("Article:\nA cat won a prize on Monday. It slept through the ceremony.\n\nTL;DR:")
    assert article.pairs == (Pair(0, 1),)


def test_shp_is_pairs_with_votes_as_scores() -> None:
    first, second = loaded("shp.jsonl").groups
    assert turns(first.prompt)[0][1].endswith("https://example.org/rice")
    assert (first.pairs, scores(first)) == ((Pair(0, 1),), [340.0, 166.0])
    assert (second.pairs, texts(second)) == ((Pair(1, 0),), ["Buy other rice.", "Soak it."])


def test_shp_can_be_limited_to_clear_preferences() -> None:
    found = load_groups(path_of("shp.jsonl"), where=["score_ratio>=2"])
    assert [group.origin.row for group in found.groups] == [1]
    assert [str(row) for row in found.left_out] == [f"{path_of('shp.jsonl')}:2: not score_ratio>=2"]


def test_stack_exchange_is_a_list_by_votes() -> None:
    [group] = loaded("stack_exchange.jsonl").groups
    assert group.prompt == (Message("user", "<p>How do I reverse a list?</p>"),)
    assert scores(group) == [3.0, -1.0]


def test_orca_pairs_have_a_system_turn_if_there_is_one() -> None:
    bare, guided = loaded("orca.jsonl").groups
    assert (bare.prompt, bare.pairs) == (RIVER, (Pair(0, 1),))
    assert turns(guided.prompt) == [
        ("system", "You are an AI assistant. Explain as to a child."),
        ("user", "Why is the sky blue?"),
    ]


def test_alpaca_eval_leans_to_one_output_by_a_margin_or_is_a_tie() -> None:
    second, tie, first = loaded("alpaca_eval.json").groups
    assert (second.pairs, scores(second)) == ((Pair(1, 0, 0.5),), [0.25, 0.75])
    assert (tie.pairs, scores(tie)) == ((), [0.5, 0.5])
    assert (first.pairs, scores(first)) == ((Pair(0, 1, 1.0),), [1.0, 0.0])


def test_alpaca_is_an_instruction_with_its_input_and_an_output() -> None:
    with_input, without = loaded("alpaca.json").groups
    assert (turns(with_input.prompt), texts(with_input)) == ([("user", "Name a river.\nCountry: Egypt")], ["The Nile."])
    assert turns(without.prompt) == [("user", "Say hi.")]


def test_alpaca_pairs_are_columns_or_a_list_of_two_outputs() -> None:
    [columns] = loaded("alpaca_pairs.json").groups
    assert (texts(columns), columns.pairs) == (["The Nile.", "The Rhine."], (Pair(0, 1),))
    [outputs] = loaded("alpaca_output_pairs.json").groups
    assert (texts(outputs), outputs.pairs) == (["Hi.", "No."], (Pair(0, 1),))
    assert [role for role, _ in turns(outputs.prompt)] == ["system", "user", "assistant", "user"]


def test_sharegpt_is_a_pair_or_a_conversation_to_imitate() -> None:
    [pair] = loaded("sharegpt.json").groups
    assert (pair.prompt, texts(pair), pair.pairs) == (RIVER, ["The Nile.", "The Rhine."], (Pair(0, 1),))
    [conversation] = loaded("sharegpt_tools.json").groups
    assert [role for role, _ in turns(conversation.prompt)] == ["system", "user", "assistant", "tool"]
    assert texts(conversation) == ["It is 4."]


@pytest.mark.parametrize("file", ["message_rows.jsonl", "message_trees.jsonl"])
def test_answers_of_message_trees_are_lists_by_rank_for_each_prompt(file: str) -> None:
    first, second = loaded(file).groups[:2]
    assert (first.prompt, texts(first), scores(first)) == (RIVER, ["The Rhine.", "The Nile."], [-1.0, 0.0])
    assert turns(second.prompt) == [
        ("user", "Name a river in Egypt."),
        ("assistant", "The Nile."),
        ("user", "How long is it?"),
    ]
    assert (texts(second), scores(second)) == (["About 6,650 km."], [0.0])


def test_deleted_messages_are_left_out_and_languages_can_be_chosen() -> None:
    file = path_of("message_rows.jsonl")
    found = load_groups(file)
    assert [str(row) for row in found.left_out] == [f"{file}:8: deleted message"]
    assert found.num_rows == 8
    english = load_groups(file, where=["lang=en"])
    assert [group.origin.row for group in english.groups] == [1, 4]
    assert [row.reason for row in english.left_out] == ["not lang=en"] * 3


def test_reviews_continue_from_their_first_words() -> None:
    bad, good, unknown = loaded("reviews.jsonl").groups
    assert (bad.prompt, texts(bad)) == ("I rented this film", [" because of its name.<br /><br />It is dull."])
    assert [group.completions[0].desirable for group in (bad, good, unknown)] == [False, True, None]


def test_the_margin_of_a_comparison_precedes_its_preference() -> None:
    first, second = loaded("comparisons.csv").groups
    assert (first.pairs, second.pairs) == ((Pair(0, 1, 3.0),), (Pair(1, 0, 1.0),))
