"""Prompts: their normal form, the held-out split, the cap per prompt."""

from collections import Counter
from unicodedata import normalize

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preftune.data.prompts import cap_per_prompt, normalised_prompt, split_by_prompt
from preftune.errors import ConfigError, DataError
from preftune.groups import Completion, Message, Origin, Pair, PromptGroup, Text
from preftune.losses import Feedback

PLAIN = "What is 2+2?"


@pytest.mark.parametrize(
    "prompt",
    [
        "what IS 2+2?",
        " What  is\t2+2?\n",
        "What\u00a0is 2+2?",
        "What is 2\uff0b2?",
        "\ufeffWhat is 2+\u200b2?",
        (Message("user", "What is 2+2?"),),
        "\n\nHuman: What is 2+2?\n\nAssistant:",
        "\n\nHuman: What is 2+2? \n\nAssistant: ",
        "Human: What is 2+2?\n\nAssistant:",
    ],
)
def test_case_white_space_form_and_layout_make_no_other_prompt(prompt: Text) -> None:
    assert normalised_prompt(prompt) == "what is 2+2?"


@pytest.mark.parametrize(
    "prompt",
    [
        "What is 2+3?",
        "Whatis 2+2?",
        (Message("system", PLAIN),),
        (Message("user", PLAIN), Message("assistant", "4"), Message("user", PLAIN)),
        "\n\nHuman: What is 2+2?\n\nAssistant: 4\n\nHuman: What is 2+2?\n\nAssistant:",
        "\n\nHuman: What is 2+2?\n\nAssistant: It is",
    ],
)
def test_other_words_and_other_turns_make_another_prompt(prompt: Text) -> None:
    assert normalised_prompt(prompt) != normalised_prompt(PLAIN)


def test_a_transcript_is_the_same_as_its_turns() -> None:
    turns = (Message("user", "Hi"), Message("assistant", "Hello"), Message("user", PLAIN))
    transcript = "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: What is 2+2?\n\nAssistant:"
    assert normalised_prompt(transcript) == normalised_prompt(turns) == "user: hi\nassistant: hello\nuser: what is 2+2?"


@settings(max_examples=200, deadline=None, database=None)
@given(text=st.text(max_size=20), form=st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"]))
def test_the_unicode_form_of_a_text_makes_no_difference(text: str, form: str) -> None:
    assert normalised_prompt(normalize(form, text)) == normalised_prompt(text)  # type: ignore[arg-type]


@settings(max_examples=200, deadline=None, database=None)
@given(text=st.text(max_size=20))
def test_normalising_twice_changes_nothing_more(text: str) -> None:
    assert normalised_prompt(normalised_prompt(text)) == normalised_prompt(text)


def answered(prompt: Text, row: int = 1) -> PromptGroup:
    content: Text = "yes" if isinstance(prompt, str) else (Message("assistant", "yes"),)
    return PromptGroup(prompt, (Completion(content),), (), Origin("rows", row))


def prompts(groups: list[PromptGroup]) -> set[str]:
    return {normalised_prompt(one.prompt) for one in groups}


@settings(max_examples=100, deadline=None, database=None)
@given(st.lists(st.text("aB \n", max_size=4), min_size=1), st.floats(0.01, 0.99), st.integers(0, 9))
def test_no_prompt_is_on_both_sides_and_no_side_is_empty(texts: list[str], fraction: float, seed: int) -> None:
    groups = [answered(text, row) for row, text in enumerate(texts)]
    if len(prompts(groups)) < 2:
        with pytest.raises(DataError, match=r"1 distinct prompt\(s\), so none can be held out.*separate file"):
            split_by_prompt(groups, fraction, seed=seed)
        return
    train, held_out = split_by_prompt(groups, fraction, seed=seed)
    assert train
    assert held_out
    assert not prompts(train) & prompts(held_out)
    assert sorted([*train, *held_out], key=lambda one: one.origin.row) == groups


@settings(max_examples=100, deadline=None, database=None)
@given(st.integers(2, 200), st.floats(0.01, 0.99), st.integers(0, 9))
def test_the_fraction_is_met_as_nearly_as_whole_prompts_allow(number: int, fraction: float, seed: int) -> None:
    groups = [answered(f"question {place}") for place in range(number)]
    train, held_out = split_by_prompt(groups, fraction, seed=seed)
    assert len(held_out) == 1 or len(train) == 1 or abs(len(held_out) - fraction * number) <= 0.5 + 1e-9


@pytest.mark.parametrize(("number", "fraction", "held"), [(32, 0.25, 8), (80, 0.2, 16), (3, 0.1, 1), (3, 0.9, 2)])
def test_small_data_hold_out_what_was_asked_for(number: int, fraction: float, held: int) -> None:
    groups = [answered(f"question {place}") for place in range(number)]
    assert len(split_by_prompt(groups, fraction, seed=0)[1]) == held


def test_files_with_the_same_prompts_hold_out_the_same_ones_whatever_their_rows_and_order() -> None:
    groups = [answered(f"question {number}") for number in range(200)]
    _, held_out = split_by_prompt(groups, 0.2, seed=0)
    for other in (groups[::-1], [*groups, *groups[:150]]):
        assert prompts(split_by_prompt(other, 0.2, seed=0)[1]) == prompts(held_out)


@pytest.mark.parametrize("seed", range(5))
def test_of_two_files_with_common_prompts_nearly_all_of_these_are_on_the_same_side(seed: int) -> None:
    groups = [answered(f"question {number}") for number in range(2000)]
    common = prompts(groups[:1000])
    one, other = (prompts(split_by_prompt(part, 0.1, seed=seed)[1]) & common for part in (groups, groups[:1000]))
    assert len(one ^ other) <= 20
    assert one <= other or other <= one


def test_another_seed_holds_out_others() -> None:
    groups = [answered(f"question {number}") for number in range(200)]
    assert prompts(split_by_prompt(groups, 0.2, seed=0)[1]) != prompts(split_by_prompt(groups, 0.2, seed=1)[1])


def test_case_white_space_and_form_make_no_other_prompt() -> None:
    turn = (Message("user", "what is\t2+2? "),)
    assert normalised_prompt("What  is 2+2?") == normalised_prompt(turn)
    assert normalised_prompt((Message("system", "Be brief."), *turn)) == "system: be brief.\nuser: what is 2+2?"


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, float("nan")])
def test_a_fraction_out_of_range_is_an_error(fraction: float) -> None:
    with pytest.raises(ConfigError, match=r"fraction = .*must lie between 0 and 1"):
        split_by_prompt([answered("a"), answered("b")], fraction, seed=0)


ALL_PAIRS = ((0, 1), (0, 2), (1, 2))


def group(prompt: str = "?", row: int = 1, pairs: tuple[tuple[int, int], ...] = ((0, 1),)) -> PromptGroup:
    answers = tuple(Completion(text, score=float(-place)) for place, text in enumerate("abc"))
    return PromptGroup(prompt, answers, tuple(Pair(*pair) for pair in pairs), Origin("rows", row))


def test_rows_of_one_prompt_count_together() -> None:
    groups = [group("2+2=", row) for row in range(1, 6)] + [group("2+3=", 6)]
    capped = cap_per_prompt(groups, 2, feedback="pairs", seed=0)
    assert [one.prompt for one in capped.groups] == ["2+2=", "2+2=", "2+3="]
    assert len(capped.left_out) == 3


def test_pairs_of_one_row_count_and_completions_in_none_leave() -> None:
    [capped] = cap_per_prompt([group(pairs=ALL_PAIRS)], 1, feedback="pairs", seed=0).groups
    [pair] = capped.pairs
    assert len(capped.completions) == 2
    assert capped.completions[pair.chosen] != capped.completions[pair.rejected]


@pytest.mark.parametrize(
    ("feedback", "num_completions", "num_left_out"),
    [("thumbs", 2, 1), ("demonstrations", 2, 1), ("lists", 3, 0)],
)
def test_completions_count_for_thumbs_and_demonstrations_and_whole_lists_for_lists(
    feedback: Feedback, num_completions: int, num_left_out: int
) -> None:
    capped = cap_per_prompt([group(pairs=())], 2, feedback=feedback, seed=0)
    assert [len(one.completions) for one in capped.groups] == [num_completions]
    assert len(capped.left_out) == num_left_out
    lists = cap_per_prompt([group(row=row) for row in range(1, 4)], 2, feedback="lists", seed=0)
    assert len(lists.groups) == 2


def test_what_is_kept_depends_on_the_seed_and_on_no_other_row() -> None:
    groups = [group("2+2=", row) for row in range(1, 30)]
    rows = {one.origin.row for one in cap_per_prompt(groups, 5, feedback="pairs", seed=0).groups}
    others = [group(f"other {row}", 100 + row) for row in range(9)]
    again = cap_per_prompt([*others, *groups[::-1]], 5, feedback="pairs", seed=0).groups
    assert {one.origin.row for one in again if one.prompt == "2+2="} == rows
    assert {one.origin.row for one in cap_per_prompt(groups, 5, feedback="pairs", seed=1).groups} != rows


capped_prompts = st.sampled_from(["a", "A ", "b", "c"])


@settings(max_examples=100, deadline=None, database=None)
@given(
    rows=st.lists(st.tuples(capped_prompts, st.lists(st.sampled_from(ALL_PAIRS), min_size=1, max_size=4)), max_size=8),
    limit=st.integers(1, 5),
)
def test_no_prompt_has_more_and_nothing_is_left_out_below_the_limit(
    rows: list[tuple[str, list[tuple[int, int]]]], limit: int
) -> None:
    groups = [group(prompt, row, tuple(pairs)) for row, (prompt, pairs) in enumerate(rows, start=1)]
    capped = cap_per_prompt(groups, limit, feedback="pairs", seed=0)

    def count(some: list[PromptGroup]) -> Counter[str]:
        return Counter(normalised_prompt(one.prompt) for one in some for _ in one.pairs)

    before, after = count(groups), count(capped.groups)
    assert after == Counter({prompt: min(number, limit) for prompt, number in before.items()})
    assert len(capped.left_out) == before.total() - after.total()
