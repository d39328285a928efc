"""Held-out prompts."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preftune.data import normalised_prompt, split_by_prompt
from preftune.errors import ConfigError, DataError
from preftune.groups import Completion, Message, Origin, PromptGroup, Text


def group(prompt: Text, row: int = 1) -> PromptGroup:
    content: Text = "yes" if isinstance(prompt, str) else (Message("assistant", "yes"),)
    return PromptGroup(prompt, (Completion(content),), (), Origin("rows", row))


def prompts(groups: list[PromptGroup]) -> set[str]:
    return {normalised_prompt(one.prompt) for one in groups}


@settings(max_examples=100, deadline=None, database=None)
@given(st.lists(st.text("aB \n", max_size=4), min_size=1), st.floats(0.01, 0.99), st.integers(0, 9))
def test_no_prompt_is_on_both_sides_and_no_side_is_empty(texts: list[str], fraction: float, seed: int) -> None:
    groups = [group(text, row) for row, text in enumerate(texts)]
    if len(prompts(groups)) < 2:
        with pytest.raises(DataError, match=r"1 distinct prompt\(s\), so none can be held out.*file of its own"):
            split_by_prompt(groups, fraction, seed=seed)
        return
    train, held_out = split_by_prompt(groups, fraction, seed=seed)
    assert train
    assert held_out
    assert not prompts(train) & prompts(held_out)
    assert sorted([*train, *held_out], key=lambda one: one.origin.row) == groups


def test_the_fraction_is_met_over_many_prompts() -> None:
    groups = [group(f"question {number}") for number in range(4000)]
    _, held_out = split_by_prompt(groups, 0.1, seed=3)
    assert len(held_out) / len(groups) == pytest.approx(0.1, abs=0.02)


def test_a_prompt_stays_on_its_side_whatever_the_other_rows_and_their_order() -> None:
    groups = [group(f"question {number}") for number in range(200)]
    _, held_out = split_by_prompt(groups, 0.2, seed=0)
    _, of_reversed = split_by_prompt(groups[::-1], 0.2, seed=0)
    _, of_half = split_by_prompt(groups[:100], 0.2, seed=0)
    assert prompts(of_reversed) == prompts(held_out)
    assert prompts(of_half) == prompts(held_out) & prompts(groups[:100])


def test_another_seed_holds_out_others() -> None:
    groups = [group(f"question {number}") for number in range(200)]
    assert prompts(split_by_prompt(groups, 0.2, seed=0)[1]) != prompts(split_by_prompt(groups, 0.2, seed=1)[1])


def test_case_white_space_and_form_make_no_other_prompt() -> None:
    turn = (Message("user", "what is\t2+2? "),)
    assert normalised_prompt("What  is 2+2?") == normalised_prompt(turn)
    assert normalised_prompt((Message("system", "Be brief."), *turn)) == "system: be brief.\nuser: what is 2+2?"


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, float("nan")])
def test_a_fraction_out_of_range_is_an_error(fraction: float) -> None:
    with pytest.raises(ConfigError, match=r"fraction = .*must lie between 0 and 1"):
        split_by_prompt([group("a"), group("b")], fraction, seed=0)
