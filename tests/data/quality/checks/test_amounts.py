"""Rows, judgements, thumbs and lengths."""

import pytest

from preftune.data.quality.check import CheckSettings
from preftune.data.rows import BadRow, DataRow, LeftOut
from preftune.groups import Completion, Origin, PromptGroup
from tests.data.quality.groups import by_word, checked, finding, findings, numbered, pair, scored, thumb


def test_everything_is_counted() -> None:
    rows: list[DataRow] = [
        pair("q", "a", "b"),
        scored("r", {"a": 1.0, "b": 2.0, "c": 2.0}),
        thumb("s", "a", True),
        BadRow(Origin("prefs", 4), "bad"),
    ]
    measures = finding("counts", rows).measures
    assert measures == {"rows": 4, "groups": 3, "completions": 6, "pairs": 3, "ties": 1, "thumbs": 1}


def test_few_judgements_are_a_warning_none_an_error_and_demonstrations_a_note() -> None:
    demonstration = PromptGroup("q", (Completion("a"),), (), Origin("prefs", 1))
    unjudged = PromptGroup("q", (Completion("a"), Completion("b")), (), Origin("prefs", 1))
    assert finding("counts", [pair("q", "a", "b")]).severity == "warning"
    assert finding("counts", [unjudged]).severity == "error"
    assert finding("counts", [demonstration]).severity == "note"
    assert finding("counts", [pair("q", "a", "b")] * 100).severity == "note"


def test_problems_of_rows_are_grouped_ignoring_numbers() -> None:
    problems = ["line 1 is bad", "line 22 is bad", "the field is missing"]
    rows = [BadRow(Origin("prefs", n), text) for n, text in enumerate(problems, start=1)]
    found = findings("unusable", [*rows, LeftOut(Origin("prefs", 9), "a tie")])
    assert [(item.severity, item.count, item.title) for item in found] == [
        ("error", 2, "Rows that cannot be used: 2. The first: line 1 is bad"),
        ("error", 1, "Rows that cannot be used: 1. The first: the field is missing"),
        ("note", 1, "Rows left out (a tie): 1"),
    ]


def test_of_very_many_problems_the_rest_are_one() -> None:
    rows = [BadRow(Origin("prefs", n), "x" * n) for n in range(1, 60)]
    found = findings("unusable", rows)
    assert len(found) == 21
    assert sum(item.count for item in found) == 59


def test_lengths_count_words_and_signs_of_scripts_without_spaces() -> None:
    measures = finding("lengths", [pair("one two", "a b c", "你好吗")]).measures
    assert (measures["chosen_median"], measures["rejected_median"], measures["prompt_median"]) == (3, 3, 2)


def test_tokens_over_the_limit_are_counted_by_completion() -> None:
    groups = numbered([pair("one two", "a b c", "a"), pair("one", "a", "b")])
    settings = CheckSettings(max_length=4)
    [found] = checked(groups, "tokens", settings=settings, count_tokens=by_word).findings
    assert (found.count, found.total, [origin.row for origin in found.rows]) == (1, 4, [1])
    assert (found.severity, found.measures["longest"]) == ("error", 5)


def test_the_picture_of_tokens_marks_the_limit() -> None:
    report = checked([pair("q", "a b", "a")], "tokens", settings=CheckSettings(max_length=4), count_tokens=by_word)
    assert [picture.limit for picture in report.histograms] == [4.0]


def test_without_a_limit_lengths_in_tokens_are_a_note() -> None:
    [found] = checked([pair("q", "a b", "a")], "tokens", count_tokens=by_word).findings
    assert (found.severity, found.count, found.total) == ("note", 2, 2)


def test_rows_that_cannot_be_tokenized_are_named_and_the_rest_is_counted() -> None:
    groups = numbered([pair("untokenizable", "a", "b"), pair("q", "a", "b")])
    failed, found = checked(groups, "tokens", count_tokens=by_word).findings
    assert (failed.severity, [origin.row for origin in failed.rows]) == ("error", [1])
    assert found.total == 2


@pytest.mark.parametrize(
    ("up", "down", "severity"), [(10, 0, "error"), (0, 9, "error"), (30, 10, "warning"), (12, 10, "note")]
)
def test_thumbs_are_balanced_by_the_rule_of_kto(up: int, down: int, severity: str) -> None:
    groups = [thumb(f"q{n}", "a", n < up) for n in range(up + down)]
    found = finding("labels", numbered(groups))
    assert (found.count, found.total, found.severity) == (up, up + down, severity)
    if severity == "warning":
        assert "Set desirable_weight to 0.333 to 0.5" in found.advice
