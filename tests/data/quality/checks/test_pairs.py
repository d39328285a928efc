"""Pairs that are equal, and their margins."""

from dataclasses import replace

from preftune.data.quality.checks.pairs import shared_words
from preftune.data.rows import BadRow, DataRow
from preftune.groups import Completion, Origin
from tests.data.quality.groups import checked, finding, findings, numbered, pair, scored


def test_rows_that_were_refused_for_it_and_equal_but_for_case_count_together() -> None:
    rows: list[DataRow] = [
        BadRow(Origin("prefs", 9), "'chosen' and 'rejected' are equal, so ...", "equal"),
        pair("q", "a", "A "),
    ]
    found = finding("identical", rows)
    assert (found.count, found.total, found.severity) == (2, 2, "error")


def test_equal_texts_of_a_list_count_once_for_each_pair() -> None:
    assert finding("identical", [scored("q", {"a": 1.0, "A": 2.0, "a ": 3.0})]).count == 3


def test_one_word_of_twenty_is_nearly_the_same_and_two_are_not() -> None:
    words = [f"w{number}" for number in range(20)]
    one, two = " ".join([*words[:-1], "x"]), " ".join([*words[:-2], "x", "y"])
    assert "nearly" in finding("identical", [pair("q", " ".join(words), one)]).title
    assert findings("identical", [pair("q", " ".join(words), two)]) == []


def test_few_of_many_are_a_note() -> None:
    words = " ".join(f"w{number}" for number in range(30))
    others = [pair(f"q{number}", "yes", "no") for number in range(200)]
    assert finding("identical", numbered([*others, pair("q", f"{words} a", f"{words} b")])).severity == "note"
    assert finding("identical", [pair("q", f"{words} a", f"{words} b")]).severity == "warning"


def test_words_count_as_often_as_they_occur() -> None:
    assert shared_words(["a", "a", "a"], ["a", "a", "b"]) < 1
    assert shared_words([], []) == 0


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
