from collections.abc import Iterator
from dataclasses import replace

from preftune.data.quality.facts import facts_of
from preftune.data.quality.report import QualityReport
from preftune.data.quality.run import MOST_ROWS, check_groups
from preftune.data.quality.texts import num_words, shortened
from preftune.data.rows import BadRow, DataRow
from preftune.findings import Severity
from preftune.groups import Message, Origin, PromptGroup
from tests.data.quality.groups import checked, finding, numbered, pair


def test_the_data_are_read_once_for_findings_and_once_for_excerpts() -> None:
    reads = []

    def read() -> Iterator[DataRow]:
        reads.append(0)
        for group in numbered([pair("q", "a", "b")] * 3 + [pair("r", "a", "b")] * 9):
            reads[-1] += 1
            yield group

    report = check_groups(read, only=["duplicates"])
    assert reads == [12, 7]  # the fifth repeat is row 7
    assert report.findings[0].examples[0].text == "q\nchosen: a\nrejected: b"


def test_without_texts_the_data_are_read_once_and_no_excerpt_is_kept() -> None:
    reads = []

    def read() -> list[PromptGroup]:
        reads.append(1)
        return numbered([pair("q", "I can't do that.", "...")] * 3)

    report = check_groups(read, with_texts=False)
    assert len(reads) == 1
    assert [example.text for found in report.findings for example in found.examples if example.text] == []
    assert any(found.examples for found in report.findings)


def test_an_unusable_row_is_shown_by_its_problem() -> None:
    found = finding("unusable", [BadRow(Origin("prefs", 3), "the line is not JSON.")])
    assert (str(found.examples[0].origin), found.examples[0].text) == ("prefs:3", "the line is not JSON.")


def test_the_worst_stands_first() -> None:
    groups = numbered([pair("q", "a", "A"), pair("r", "a", "..."), pair("s", "a", "b")])
    severities = [found.severity for found in checked(groups).findings]
    assert severities == sorted(severities, key=["error", "warning", "note"].index)
    assert severities[0] == "error"


def test_of_very_many_rows_the_first_are_listed_and_all_are_counted() -> None:
    found = finding("duplicates", numbered([pair("q", "a", "b")] * (MOST_ROWS + 500)))
    assert (len(found.rows), found.num_rows) == (MOST_ROWS, MOST_ROWS + 499)


def test_rows_that_several_checks_blame_are_suspicious() -> None:
    groups = numbered([pair("q", "a\x07", "..."), pair("r", "a", "b\x07")])
    [found] = [item for item in checked(groups).findings if item.rule == "suspicious"]
    assert (found.count, found.total) == (1, 2)
    assert (found.examples[0].origin.row, found.examples[0].note) == (1, "control-characters, empty")


def test_a_report_fails_at_a_bound_or_worse() -> None:
    def report(*severities: Severity) -> QualityReport:
        found = finding("duplicates", numbered([pair("q", "a", "b")] * 2))
        made = [replace(found, severity=severity) for severity in severities]
        return QualityReport((), 0, tuple(made), (), (), {}, 0.0)

    assert report("error").fails("warning")
    assert report("warning").fails("warning")
    assert not report("warning").fails("error")
    assert not report("note").fails("warning")
    assert not report().fails("error")


def test_texts_are_counted_and_shortened_for_people() -> None:
    assert [num_words(text) for text in ("", "a  b\n", "你好 world", "日本。")] == [0, 2, 3, 2]
    assert shortened("esc \x1b[31m and\u202e more") == "esc \\x1b[31m and\\u202e more"
    assert len(shortened("word " * 100, 50)) <= 50


def test_tool_calls_count_as_text_of_a_completion() -> None:
    call = (Message("assistant", "", {"tool_calls": [{"name": "search"}]}),)
    facts = facts_of(pair((Message("user", "q"),), call, (Message("assistant", "no"),)), 1)
    assert "search" in facts.texts[0]
    assert facts.keys[0] != facts.keys[1]
