from preftune.data.quality.checks.pairs import shared_words
from preftune.data.rows import BadRow, DataRow
from preftune.groups import Origin
from tests.data.quality.groups import finding, findings, numbered, pair, scored


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
