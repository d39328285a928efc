from dataclasses import replace

from preftune.groups import Completion
from tests.data.quality.groups import checked, finding, findings, numbered, pair, scored


def test_a_margin_or_scores_that_are_equal_make_a_tie() -> None:
    known = pair("q", "a", "b", margin=0.0)
    scores = replace(pair("q", "a", "b"), completions=(Completion("a", 2.0), Completion("b", 2.0)))
    found = finding("margins", numbered([known, scores]))
    assert (found.count, found.total) == (2, 2)


def test_a_margin_wins_over_scores() -> None:
    scores = replace(pair("q", "a", "b", margin=1.0), completions=(Completion("a", 2.0), Completion("b", 2.0)))
    assert findings("margins", [scores]) == []


def test_ties_of_lists_count_pairs() -> None:
    found = finding("margins", [scored("q", {"a": 1.0, "b": 1.0, "c": 1.0, "d": 5.0})])
    assert (found.count, found.total) == (3, 6)


def test_long_lists_are_compared_by_neighbours_and_ends() -> None:
    scores = {f"c{number}": float(number // 2) for number in range(10)}
    found = finding("margins", [scored("q", scores)])
    assert (found.count, found.total) == (5, 10)


def test_scores_against_the_pair_are_inverted() -> None:
    group = replace(pair("q", "a", "b"), completions=(Completion("a", 1.0), Completion("b", 2.0)))
    found = finding("margins", [group])
    assert found.title == "Pairs whose rejected completion has the higher score: 1"
    assert found.severity == "error"


def test_small_is_below_a_tenth_of_the_median_of_what_is_above_nothing() -> None:
    margins = [0.0, -5.0, 0.09, 1.0, 1.0, 1.0, 2.0]
    groups = numbered(pair("q", f"a{margin}", "b", margin=margin) for margin in margins)
    found = {item.title[:20]: item for item in findings("margins", groups)}
    assert found["Pairs with a margin "].count == 1
    assert found["Pairs with a margin "].measures["threshold"] == 0.1
    assert found["Pairs that are ties,"].count == 1


def test_data_without_margins_have_no_finding_and_no_picture() -> None:
    report = checked([pair("q", "a", "b")], "margins")
    assert (report.findings, report.histograms) == ((), ())


def test_a_few_huge_margins_do_not_set_the_scale_of_the_picture() -> None:
    groups = numbered(pair(f"q{number}", "a", "b", margin=number % 10 + 1.0) for number in range(999))
    [picture] = checked([*groups, pair("q", "a", "b", margin=1e99)], "margins").histograms
    assert picture.edges[-1] < 20
    assert sum(picture.counts["pairs"]) == 1000
