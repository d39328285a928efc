"""Groups as methods see them, and what is said of data that lack the feedback."""

from typing import Any

import pytest

from preftune.data.feedback import FeedbackReport, groups_for, methods_that_fit
from preftune.data.views import PairRule
from preftune.errors import ConfigError, DataError
from preftune.groups import Origin, Pair, PromptGroup
from preftune.losses import LOSSES, Feedback
from tests.data.groups import contents, paired, scored, thumbed


def test_some_rows_may_give_pairs_and_others_scores() -> None:
    fitted = groups_for("pairs", [paired((1, 0)), scored(1.0, 2.0, row=2)])
    assert [group.pairs for group in fitted.groups] == [(Pair(1, 0),), (Pair(1, 0, 1.0),)]
    assert fitted.report == FeedbackReport()


def test_what_could_not_be_used_is_reported_by_place_once_for_each() -> None:
    groups = [scored(1.0, 1.0, 1.0, row=1), scored(1.0, 1.5, 3.0, row=2)]
    fitted = groups_for("pairs", groups, rule=PairRule(min_score_gap=1.0))
    first, second = Origin("rows", 1), Origin("rows", 2)
    assert [group.origin for group in fitted.groups] == [second]
    assert fitted.report == FeedbackReport(tied=(first,) * 3, under_gap=(second,), unpaired=(first,))


def test_thumbs_come_from_labels_and_from_pairs() -> None:
    fitted = groups_for("thumbs", [thumbed(True), paired((0, 1), (1, 2), number=3, row=2)])
    assert [contents(group) for group in fitted.groups] == ["a", "ac"]
    assert fitted.report.ambiguous == (Origin("rows", 2),)


def test_lists_come_from_scores_and_from_single_pairs() -> None:
    fitted = groups_for("lists", [scored(3.0, 1.0, 2.0), paired((1, 0), row=2), scored(1.0, row=3)])
    assert [[completion.score for completion in group.completions] for group in fitted.groups] == [
        [3.0, 1.0, 2.0],
        [0.0, 1.0],
    ]
    assert fitted.report.unpaired == (Origin("rows", 3),)


def test_demonstrations_are_what_is_worth_imitating() -> None:
    groups = [paired((1, 0)), thumbed(False, row=2), scored(1.0, 2.0, row=3)]
    assert [contents(group) for group in groups_for("demonstrations", groups).groups] == ["b", "b"]


def test_margins_are_filled_in_only_if_needed() -> None:
    groups = [scored(3.0, 1.0, pairs=[Pair(0, 1)])]
    assert groups_for("pairs", groups).groups[0].pairs[0].margin is None
    assert groups_for("pairs", groups, needs_margins=True).groups[0].pairs[0].margin == 2.0


def test_a_pair_without_a_margin_that_is_needed_is_an_error_with_the_ways_out() -> None:
    groups = [scored(3.0, 1.0, pairs=[Pair(0, 1)]), paired((0, 1), row=2)]
    with pytest.raises(DataError, match=r"^rows:2: the pair has no margin \(1 of 2 .*column 'margin'.*scores.*: .*dpo"):
        groups_for("pairs", groups, needs_margins=True)


@pytest.mark.parametrize(
    ("feedback", "group", "problem", "fitting"),
    [
        ("pairs", thumbed(True), "has no pair of a chosen and a rejected completion", "sft (demonstrations)"),
        ("pairs", scored(1.0, None), "has no pair of a chosen and a rejected completion", "sft (demonstrations)"),
        ("thumbs", scored(1.0, 2.0), "has no completion that is marked as desirable or not, and no pair", "dpo"),
        ("lists", paired((0, 1), (1, 2), number=3), "has no score for each completion, nor two completions", "dpo"),
        ("lists", thumbed(True), "has no score for each completion, nor two completions", "sft (demonstrations)"),
    ],
)
def test_data_without_the_feedback_are_an_error_that_says_which_methods_fit(
    feedback: Feedback, group: Any, problem: str, fitting: str
) -> None:
    with pytest.raises(DataError) as caught:
        groups_for(feedback, [group, group])
    text = str(caught.value)
    assert text.startswith(f"rows:1: the prompt {problem}")
    assert "(2 of 2 prompts have none)" in text
    assert f"this method learns from {feedback}." in text
    assert fitting in text.partition("a method that fits the data: ")[2]


def test_a_rule_without_scores_is_an_error_that_names_the_rule() -> None:
    with pytest.raises(
        DataError, match=r"^rows:1: the prompt has no score for each .*--pairing adjacent .*leave --pair"
    ):
        groups_for("pairs", [paired((0, 1))], rule=PairRule("adjacent"))
    with pytest.raises(DataError, match=r"^rows:1: the prompt has no pair of a chosen"):
        groups_for("pairs", [scored(1.0, 2.0)], rule=PairRule("given"))


def test_a_gap_that_some_pairs_would_not_keep_is_an_error() -> None:
    groups = [scored(1.0, 2.0), paired((0, 1), row=2)]
    with pytest.raises(ConfigError, match=r"min_score_gap = 0.5: the pairs of the data \(rows:2\) are kept at any gap"):
        groups_for("pairs", groups, rule=PairRule(min_score_gap=0.5))


def test_pairing_of_data_with_thumbs_is_an_error() -> None:
    with pytest.raises(ConfigError, match="pairing: rows:1 already has thumbs"):
        groups_for("thumbs", [thumbed(True)], rule=PairRule("all"))


@pytest.mark.parametrize(
    ("feedback", "group", "problem"),
    [
        ("pairs", scored(1.0, 1.0), r"no pair is left of 1 prompts \(the first: rows:1\): all scores are equal"),
        ("thumbs", paired((0, 1), (1, 0)), "no completion is left of 1 prompts .* that is either desirable or undes"),
        ("lists", scored(1.0), "no two completions that could be compared are left of 1 prompts"),
        ("demonstrations", thumbed(False), "no completion of 1 prompts .* can be imitated"),
    ],
)
def test_nothing_left_is_an_error(feedback: Feedback, group: Any, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        groups_for(feedback, [group])


def test_no_groups_give_no_groups() -> None:
    assert groups_for("pairs", []).groups == []


@pytest.mark.parametrize(
    ("group", "kinds"),
    [
        (paired((0, 1)), {"pairs", "thumbs", "lists", "demonstrations"}),
        (paired((0, 1), (1, 2), number=3), {"pairs", "thumbs", "demonstrations"}),
        (scored(1.0, 2.0), {"pairs", "lists", "demonstrations"}),
        (thumbed(True), {"thumbs", "demonstrations"}),
        (scored(None), {"demonstrations"}),
    ],
)
def test_data_fit_the_methods_that_learn_from_what_they_say(group: PromptGroup, kinds: set[str]) -> None:
    wanted = {loss.feedback for loss in LOSSES.values()} & kinds
    assert set(methods_that_fit([group])) == wanted
    assert set(methods_that_fit([group, scored(None)])) == {"demonstrations"}


def test_methods_that_need_margins_fit_data_that_have_them() -> None:
    takes_margins = {name for name, loss in LOSSES.items() if loss.needs("margins")}
    without = methods_that_fit([paired((0, 1))])["pairs"]
    assert "dpo" in without
    assert not takes_margins & set(without)
    assert takes_margins <= set(methods_that_fit([scored(2.0, 1.0, pairs=[Pair(0, 1)])])["pairs"])
