import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preftune.data.quality.cleaning import Decision, decide
from preftune.data.quality.facts import facts_of
from preftune.data.quality.row_table import RowTable, RowTableBuilder
from preftune.errors import ConfigError
from preftune.groups import PromptGroup
from preftune.settings.data_commands import CleaningRules
from tests.data.quality.groups import numbered, pair, scored, thumb


def table(groups: list[PromptGroup]) -> RowTable:
    builder = RowTableBuilder()
    for place, group in enumerate(numbered(groups)):
        builder.add(facts_of(group, place))
    return builder.table()


def decided(groups: list[PromptGroup], rules: CleaningRules) -> Decision:
    return decide(table(groups), rules)


def left_out(groups: list[PromptGroup], rules: CleaningRules) -> list[int]:
    """Indices of the rows that are left out."""
    return [index for index, rule in enumerate(decided(groups, rules).rules.tolist()) if rule >= 0]


def test_dedupe_keeps_the_first_of_each() -> None:
    groups = [pair("q", "a", "b"), pair("Q ", "A", "b"), pair("q", "b", "a"), pair("q", "a", "b")]
    assert left_out(groups, CleaningRules(dedupe=True)) == [1, 3]


def test_identical_is_the_same_but_for_case_and_white_space() -> None:
    assert left_out([pair("q", "a b", "A  b"), pair("q", "a", "b")], CleaningRules(drop_identical=True)) == [0]


def test_ties_are_margins_of_the_gap_or_less_on_either_side() -> None:
    margins = [0.0, 0.5, -0.5, 0.6, None]
    groups = [pair(f"q{n}", "a", "b", margin=margin) for n, margin in enumerate(margins)]
    assert left_out(groups, CleaningRules(drop_ties=0.0)) == [0]
    assert left_out(groups, CleaningRules(drop_ties=0.5)) == [0, 1, 2]


def test_a_list_is_a_tie_where_all_of_it_is() -> None:
    groups = [scored("q", {"a": 1.0, "b": 1.0}), scored("r", {"a": 1.0, "b": 1.0, "c": 2.0})]
    assert left_out(groups, CleaningRules(drop_ties=0.0)) == [0]


def test_the_minority_is_removed_or_all_in_a_tie() -> None:
    groups = [pair("q", "a", "b"), pair("q", "b", "a"), pair("q", "A", "b"), pair("r", "a", "b"), pair("r", "b", "a")]
    groups += [pair("s", "a", "b"), pair("q", "a", "c")]
    assert left_out(groups, CleaningRules(resolve_contradictions="majority")) == [1, 3, 4]


def test_contradictory_thumbs_are_resolved_as_well() -> None:
    groups = [thumb("q", "a", True), thumb("q", "a", False), thumb("q", "a", True), thumb("q", "b", False)]
    assert left_out(groups, CleaningRules(resolve_contradictions="majority")) == [1]


def test_excluded_repeats_have_no_vote() -> None:
    groups = [pair("q", "a", "b"), pair("q", "a", "b"), pair("q", "b", "a")]
    both = CleaningRules(dedupe=True, resolve_contradictions="majority")
    decision = decided(groups, both)
    assert decision.rules.tolist() == [1, 0, 1]
    assert decision.counts == {"dedupe": 1, "resolve-contradictions": 2}
    assert [name for name, _ in decision.reasons] == ["dedupe", "resolve-contradictions"]


def test_a_prompt_keeps_as_many_rows_as_allowed_in_any_order() -> None:
    groups = [pair(f"q{number % 4}", f"a{number}", "b") for number in range(40)]
    rules = CleaningRules(cap_per_prompt=3)
    gone = left_out(groups, rules)
    kept = Counter(group.prompt for index, group in enumerate(groups) if index not in gone)
    assert set(kept.values()) == {3}
    order = random.Random(0).sample(range(40), 40)
    other = left_out([groups[index] for index in order], rules)
    assert sorted(order[index] for index in other) == gone
    assert left_out(groups, CleaningRules(cap_per_prompt=3, seed=1)) != gone


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=60), st.integers(0, 5))
def test_balanced_data_have_chosen_longer_as_often_as_shorter(lengths: list[tuple[int, int]], seed: int) -> None:
    groups = [pair(f"q{n}", "w " * chosen, "v " * rejected) for n, (chosen, rejected) in enumerate(lengths)]
    gone = left_out(groups, CleaningRules(balance_length=True, seed=seed))
    kept = [own for index, own in enumerate(lengths) if index not in gone]
    assert sum(a > b for a, b in kept) == sum(a < b for a, b in kept)
    assert all(lengths[index][0] != lengths[index][1] for index in gone)


def test_balance_is_even_for_every_size_of_the_difference() -> None:
    groups = [pair(f"a{n}", "w " * 40, "v " * 10) for n in range(30)]  # much longer
    groups += [pair(f"b{n}", "w " * 10, "v " * 11) for n in range(30)]  # a little shorter
    assert len(left_out(groups, CleaningRules(balance_length=True))) == 60


def test_values_out_of_range_and_rules_without_use_are_errors() -> None:
    with pytest.raises(ConfigError) as caught:
        CleaningRules(drop_ties=-1.0, cap_per_prompt=0)
    assert len(caught.value.problems) == 2
    with pytest.raises(ConfigError) as caught:
        decided([thumb("q", "a", True)], CleaningRules(drop_ties=0.0, balance_length=True))
    assert len(caught.value.problems) == 2
    with pytest.raises(ConfigError, match="no row judges anything"):
        decided([scored("q", {"a": 1.0})], CleaningRules(resolve_contradictions="majority"))
