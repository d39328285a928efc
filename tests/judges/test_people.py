import json
from pathlib import Path

import pytest

from preftune.errors import JudgeError
from preftune.groups import Message
from preftune.judges.judge import Comparison, Question, Verdict
from preftune.judges.judging import judge_comparisons
from preftune.judges.people import FileJudge

COMPARISONS = [
    Comparison(0, "2+2=", "4", "5"),
    Comparison(1, (Message("user", "Why?", {"name": "Ada"}),), "So.", "No."),
    Comparison(2, "1+1=", "2", "2"),
]


def fill_in(file: Path, *verdicts: str | None) -> None:
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    lines = [json.dumps({**row, "verdict": verdict}) for row, verdict in zip(rows, verdicts, strict=True)]
    file.write_text("\n".join(lines))


def test_a_file_is_written_filled_in_and_read(tmp_path: Path) -> None:
    judge = FileJudge(tmp_path / "new" / "verdicts.jsonl")
    with pytest.raises(JudgeError, match=r"now holds 2 comparisons.*run the same command again"):
        judge_comparisons(judge, COMPARISONS, None)
    rows = [json.loads(line) for line in judge.path.read_text().splitlines()]
    assert [set(row) for row in rows] == [{"prompt", "first", "second", "verdict"}] * 2
    ours_first = [row["first"] == item.ours for row, item in zip(rows, COMPARISONS, strict=False)]
    fill_in(judge.path, *("first" if is_first else "second" for is_first in ours_first))
    judged = judge_comparisons(judge, COMPARISONS, None)
    assert [set(item.points) for item in judged] == [{1.0}, {1.0}, {0.5}]  # equal completions are a tie


def test_questions_not_judged_yet_have_no_verdict(tmp_path: Path) -> None:
    judge = FileJudge(tmp_path / "verdicts.jsonl")
    with pytest.raises(JudgeError, match="there was no such file"):
        judge_comparisons(judge, COMPARISONS, None)
    fill_in(judge.path, "tie", None)
    assert [item.is_complete for item in judge_comparisons(judge, COMPARISONS, None)] == [True, False, True]


def test_texts_with_other_line_breaks_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    file = tmp_path / "verdicts.jsonl"
    row = {"prompt": "a\u2028b", "first": "c\x85d", "second": "e", "verdict": "first"}
    file.write_text("\ufeff" + json.dumps(row, ensure_ascii=False) + "\n", encoding="utf-8")
    found: dict[Question, Verdict] = {}
    FileJudge(file).ask([Question("a\u2028b", "c\x85d", "e")], found.__setitem__)
    assert list(found.values()) == [Verdict("first")]


def test_either_order_in_the_file_is_found(tmp_path: Path) -> None:
    file = tmp_path / "verdicts.jsonl"
    file.write_text(json.dumps({"prompt": "2+2=", "first": "5", "second": "4", "verdict": "second"}) + "\n\n")
    found: dict[Question, Verdict] = {}
    FileJudge(file).ask([Question("2+2=", "4", "5")], found.__setitem__)
    assert found == {Question("2+2=", "4", "5"): Verdict("first")}


def test_the_order_does_not_reveal_whose_completion_is_whose() -> None:
    firsts = [Comparison(0, "p", f"ours {number}", f"theirs {number}").blind.first for number in range(100)]
    assert 30 < sum(first.startswith("ours") for first in firsts) < 70
    comparison = Comparison(0, "p", "a", "b")
    assert comparison.blind == Comparison(0, "p", "b", "a").blind


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", r"verdicts\.jsonl:1: is not a comparison"),
        ('{"prompt": "p", "first": "a"}', "KeyError"),
        ('{"prompt": "p", "first": "a", "second": "b", "verdict": "A"}', "verdict is 'A'. It must be first"),
        ('{"prompt": "p", "first": "a", "second": "b", "verdict": "tie"}', "is about other completions"),
    ],
)
def test_a_file_that_does_not_fit_is_named(line: str, problem: str, tmp_path: Path) -> None:
    file = tmp_path / "verdicts.jsonl"
    file.write_text(line + "\n")
    with pytest.raises(JudgeError, match=problem):
        FileJudge(file).ask([Question("2+2=", "4", "5")], lambda *_: None)
