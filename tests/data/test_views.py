"""Views of a prompt group: pairs, thumbs, lists, demonstrations."""

from collections.abc import Sequence
from itertools import combinations
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preftune.data.views import (
    Paired,
    Pairing,
    PairRule,
    ScoreRule,
    View,
    demonstration_view,
    has_margins,
    has_order,
    has_thumbs,
    list_view,
    only,
    pairs_by_score,
    scores_of,
    thumb_view,
    with_margins,
)
from preftune.groups import Completion, Pair, PromptGroup
from tests.data.groups import contents, paired, scored, thumbed


def test_the_pairs_of_a_part_are_those_among_its_completions() -> None:
    part = only(paired((3, 0), (1, 3), (0, 2), number=4), [3, 0])
    assert (contents(part), part.pairs) == ("ad", (Pair(1, 0),))


def test_all_of_a_group_is_the_group() -> None:
    group = paired((0, 1))
    assert only(group, [1, 0]) is group


def test_scores_are_known_of_all_completions_or_not_at_all() -> None:
    assert scores_of(scored(1.0, 0.0)) == (1.0, 0.0)
    assert scores_of(scored(1.0, None)) is None


def view(group: PromptGroup, pairing: Pairing | None = None, gap: float = 0.0) -> PromptGroup:
    seen = PairRule(pairing, gap).view(group).group
    assert seen is not None
    return seen


def test_pairs_of_the_data_are_kept_if_there_are_any() -> None:
    group = scored(1.0, 2.0, pairs=[Pair(0, 1)])
    assert view(group) == view(group, "given") == group


def test_scores_without_pairs_make_every_pair_that_differs() -> None:
    assert view(scored(1.0, 2.0, 2.0)).pairs == (Pair(1, 0, 1.0), Pair(2, 0, 1.0))


def test_a_requested_rule_overrides_the_pairs_of_the_data() -> None:
    assert view(scored(1.0, 2.0, pairs=[Pair(0, 1)]), "all").pairs == (Pair(1, 0, 1.0),)


def test_completions_in_no_pair_are_left_out() -> None:
    best = view(scored(2.0, 1.0, 5.0), "best_vs_worst")
    assert (contents(best), best.pairs) == ("bc", (Pair(1, 0, 4.0),))
    assert contents(view(paired((2, 0), number=4))) == "ac"


def test_a_group_of_ties_is_left_out_and_counted() -> None:
    seen = PairRule().view(scored(1.0, 1.0))
    assert (seen.group, seen.lost["tied"], seen.lost["unpaired"]) == (None, 1, 1)


def test_pairs_under_the_gap_are_counted() -> None:
    seen = PairRule(None, 2.0).view(scored(1.0, 2.0, 4.0))
    assert seen.group is not None
    assert (len(seen.group.pairs), seen.lost["under_gap"]) == (2, 1)


@pytest.mark.parametrize(
    ("pairing", "fits"),
    [(None, (True, True, False)), ("given", (True, False, False)), ("all", (False, True, False))],
)
def test_a_rule_needs_pairs_or_a_score_for_each_completion(
    pairing: Pairing | None, fits: tuple[bool, bool, bool]
) -> None:
    groups = (paired((0, 1)), scored(1.0, 2.0), scored(1.0, None))
    assert tuple(PairRule(pairing).fits(group) for group in groups) == fits


def test_a_margin_of_the_data_goes_before_the_difference_of_scores() -> None:
    group = scored(1.0, 4.0, pairs=[Pair(0, 1, 7.0), Pair(1, 0)])
    assert [pair.margin for pair in with_margins(group).pairs] == [7.0, 3.0]


def test_a_pair_without_margin_and_without_both_scores_has_none() -> None:
    assert not has_margins(scored(1.0, None, pairs=[Pair(0, 1)]))
    assert has_margins(scored(1.0, None, pairs=[Pair(0, 1, 2.0)]))


RULES: tuple[ScoreRule, ...] = get_args(ScoreRule)


def by_score(scores: Sequence[float], rule: ScoreRule, gap: float = 0.0) -> Paired:
    completions = [Completion(f"answer {index}") for index in range(len(scores))]
    return pairs_by_score(completions, scores, rule, min_score_gap=gap)


def indices(found: Paired) -> list[tuple[int, int]]:
    return [(pair.chosen, pair.rejected) for pair in found.pairs]


@pytest.mark.parametrize(
    ("rule", "pairs"),
    [("all", [(2, 0), (2, 1), (0, 1)]), ("best_vs_worst", [(2, 1)]), ("adjacent", [(2, 0), (0, 1)])],
)
def test_a_rule_says_which_completions_are_compared(rule: ScoreRule, pairs: list[tuple[int, int]]) -> None:
    assert indices(by_score([2.0, 1.0, 4.0], rule)) == pairs


def test_the_margin_is_the_difference_of_the_scores() -> None:
    assert by_score([1.0, 3.5], "all").pairs == (Pair(1, 0, 2.5),)


def test_ties_and_small_gaps_make_no_pair_and_are_counted() -> None:
    found = by_score([1.0, 1.0, 1.25, 3.0], "all", gap=0.5)
    assert indices(found) == [(3, 2), (3, 0), (3, 1)]
    assert (found.num_tied, found.num_under_gap) == (1, 2)


def test_a_gap_of_just_the_least_is_enough() -> None:
    assert len(by_score([1.0, 1.5], "all", gap=0.5).pairs) == 1


def test_a_completion_that_comes_twice_is_not_better_than_itself() -> None:
    found = pairs_by_score([Completion("4"), Completion("4")], [1.0, 2.0], "all")
    assert (found.pairs, found.num_equal) == ((), 1)


@pytest.mark.parametrize("rule", RULES)
def test_a_single_completion_makes_no_pair(rule: ScoreRule) -> None:
    assert by_score([1.0], rule) == Paired(())


lists_of_scores = st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=7)
rules = st.sampled_from(RULES)


@settings(max_examples=200, deadline=None, database=None)
@given(lists_of_scores, rules, st.integers(0, 4).map(float))
def test_every_pair_has_the_greater_score_first_by_its_margin_and_by_the_gap(
    scores: list[float], rule: ScoreRule, gap: float
) -> None:
    found = by_score(scores, rule, gap)
    for pair in found.pairs:
        assert pair.margin == scores[pair.chosen] - scores[pair.rejected]
        assert pair.margin > 0
        assert pair.margin >= gap


@settings(max_examples=200, deadline=None, database=None)
@given(lists_of_scores, rules, st.integers(0, 4).map(float))
def test_what_a_rule_compares_is_a_pair_or_is_counted(scores: list[float], rule: ScoreRule, gap: float) -> None:
    found, number = by_score(scores, rule, gap), len(scores)
    compared = {"all": number * (number - 1) // 2, "best_vs_worst": min(number - 1, 1), "adjacent": number - 1}
    assert len(found.pairs) + found.num_tied + found.num_under_gap == compared[rule]


@settings(max_examples=100, deadline=None, database=None)
@given(lists_of_scores, rules)
def test_no_rule_makes_a_pair_that_all_does_not_make(scores: list[float], rule: ScoreRule) -> None:
    assert set(by_score(scores, rule).pairs) <= set(by_score(scores, "all").pairs)


@settings(max_examples=100, deadline=None, database=None)
@given(lists_of_scores)
def test_all_makes_a_pair_of_every_two_different_scores(scores: list[float]) -> None:
    wanted = {frozenset(two) for two in combinations(range(len(scores)), 2) if scores[two[0]] != scores[two[1]]}
    assert {frozenset(two) for two in indices(by_score(scores, "all"))} == wanted


@settings(max_examples=100, deadline=None, database=None)
@given(lists_of_scores)
def test_the_margins_of_neighbours_add_up_to_that_of_the_best_and_the_worst(scores: list[float]) -> None:
    total = sum(pair.margin or 0.0 for pair in by_score(scores, "adjacent").pairs)
    assert total == max(scores) - min(scores)
    assert [pair.margin for pair in by_score(scores, "best_vs_worst").pairs] == ([total] if total else [])


@settings(max_examples=100, deadline=None, database=None)
@given(st.permutations([1.0, 2.0, 4.0, 7.0]), rules)
def test_the_order_of_completions_does_not_matter(scores: list[float], rule: ScoreRule) -> None:
    def compared(order: Sequence[float]) -> list[tuple[float, float]]:
        return [(order[pair.chosen], order[pair.rejected]) for pair in by_score(order, rule).pairs]

    assert compared(scores) == compared(sorted(scores))


def thumbs(view: View) -> dict[str, bool | None]:
    assert view.group is not None
    return {str(completion.content): completion.desirable for completion in view.group.completions}


def test_thumbs_of_the_data_are_kept() -> None:
    view = thumb_view(thumbed(True, False), PairRule())
    assert thumbs(view) == {"a": True, "b": False}


def test_a_completion_without_thumbs_among_others_is_left_out_and_counted() -> None:
    view = thumb_view(thumbed(True, None, False), PairRule())
    assert (thumbs(view), view.lost["unmarked"]) == ({"a": True, "c": False}, 1)


def test_the_chosen_of_a_pair_is_desirable_and_the_rejected_is_not() -> None:
    view = thumb_view(paired((1, 0)), PairRule())
    assert thumbs(view) == {"a": False, "b": True}
    assert view.group is not None
    assert view.group.pairs == ()
    assert view.lost.get("ambiguous") == 0


def test_scores_make_thumbs_by_a_rule() -> None:
    view = thumb_view(scored(1.0, 3.0, 2.0), PairRule("best_vs_worst"))
    assert thumbs(view) == {"a": False, "b": True}


def test_a_completion_both_better_and_worse_is_left_out_and_counted() -> None:
    view = thumb_view(scored(1.0, 3.0, 2.0), PairRule("all"))
    assert (thumbs(view), view.lost["ambiguous"]) == ({"a": False, "b": True}, 1)


def test_a_group_of_which_nothing_is_clear_is_left_out() -> None:
    view = thumb_view(paired((0, 1), (1, 0)), PairRule())
    assert (view.group, view.lost["ambiguous"]) == (None, 2)
    assert thumb_view(scored(1.0, 1.0), PairRule("all")).group is None


def test_only_marks_are_thumbs() -> None:
    assert has_thumbs(thumbed(None, False))
    assert not has_thumbs(paired((0, 1)))


all_pairs = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 4)).filter(lambda pair: pair[0] != pair[1]), min_size=1
)


@settings(max_examples=100, deadline=None, database=None)
@given(all_pairs)
def test_every_completion_in_a_pair_is_marked_or_counted(pairs: list[tuple[int, int]]) -> None:
    group: PromptGroup = paired(*pairs, number=5)
    view = thumb_view(group, PairRule())
    kept = contents(view.group) if view.group else ""
    assert len(kept) + view.lost["ambiguous"] == len({index for pair in pairs for index in pair})


def seen(group: PromptGroup) -> PromptGroup:
    view = list_view(group).group
    assert view is not None
    return view


def scores(group: PromptGroup) -> list[float | None]:
    return [completion.score for completion in group.completions]


def test_scores_are_kept_and_make_all_pairs() -> None:
    group = seen(scored(1.0, 4.0, 1.0))
    assert scores(group) == [1.0, 4.0, 1.0]
    assert group.pairs == (Pair(1, 0, 3.0), Pair(1, 2, 3.0))


def test_one_pair_of_two_scores_1_and_0() -> None:
    group = seen(paired((1, 0)))
    assert (scores(group), group.pairs) == ([0.0, 1.0], (Pair(1, 0, 1.0),))


def test_equal_scores_are_a_list_without_pairs() -> None:
    group = seen(scored(2.0, 2.0))
    assert (scores(group), group.pairs) == ([2.0, 2.0], ())


def test_a_single_completion_is_left_out_and_counted() -> None:
    view = list_view(scored(1.0))
    assert (view.group, view.lost) == (None, {"unpaired": 1})


def test_an_order_is_scores_or_one_pair_of_two() -> None:
    assert has_order(scored(1.0, 2.0, 3.0))
    assert has_order(paired((1, 0), (1, 0)))
    assert not has_order(paired((1, 0), (0, 1)))
    assert not has_order(paired((0, 1), (1, 2), number=3))
    assert not has_order(scored(1.0, None))


def imitated(group: PromptGroup) -> str:
    view = demonstration_view(group).group
    return contents(view) if view is not None else ""


def test_chosen_completions_are_worth_imitating() -> None:
    assert imitated(paired((1, 0), (1, 2), number=3)) == "b"
    assert imitated(scored(1.0, 2.0, pairs=[Pair(0, 1)])) == "a"


def test_of_scored_completions_the_best_are() -> None:
    assert imitated(scored(1.0, 2.0, 2.0)) == "bc"


def test_all_but_the_undesirable_are() -> None:
    assert imitated(thumbed(True, None, False)) == "ab"
    assert imitated(thumbed(False)) == ""


def test_where_a_score_is_missing_none_is_best() -> None:
    assert imitated(scored(1.0, None)) == "ab"
