"""Rows as checks read them; the fault of an error decides which check counts the row."""

import json
from pathlib import Path
from typing import Any

import pytest

from preftune.cli.options import RowSource
from preftune.data.rows import BadRow, DataRow
from preftune.groups import PromptGroup

TURN = {"role": "user", "content": "q"}
GOOD = {"prompt": "q", "chosen": "yes", "rejected": "no"}


def read(tmp_path: Path, *rows: dict[str, Any], **options: Any) -> list[DataRow]:
    path = tmp_path / "prefs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return list(RowSource([str(path)], **options).read())


@pytest.mark.parametrize(
    ("good", "bad", "fault"),
    [
        (GOOD, {**GOOD, "rejected": "yes"}, "equal"),
        (GOOD, {**GOOD, "rejected": " "}, "empty"),
        (GOOD, {**GOOD, "rejected": ""}, "empty"),
        (GOOD, {**GOOD, "rejected": 3}, "other"),
        (GOOD, {"prompt": "q"}, "other"),
        ({"chosen": "q yes", "rejected": "q no"}, {"chosen": "q yes", "rejected": "q yes"}, "equal"),
        (
            {"chosen": "\n\nHuman: q\n\nAssistant: yes", "rejected": "\n\nHuman: q\n\nAssistant: no"},
            {"chosen": "\n\nHuman: q\n\nAssistant: yes", "rejected": "\n\nHuman: q\n\nAssistant:"},
            "empty",
        ),
        (
            {"prompt": [TURN], "chosen": "yes", "rejected": "no"},
            {"prompt": [TURN], "chosen": "yes", "rejected": "yes"},
            "equal",
        ),
        (
            {"prompt": "q", "completion": "yes", "label": True},
            {"prompt": "q", "completion": " ", "label": True},
            "empty",
        ),
        (
            {"prompt": "q", "completions": ["a"], "scores": [1]},
            {"prompt": "q", "completions": [""], "scores": [1]},
            "empty",
        ),
    ],
)
def test_unusable_rows_are_distinguished_by_fault(
    good: dict[str, Any], bad: dict[str, Any], fault: str, tmp_path: Path
) -> None:
    group, row = read(tmp_path, good, bad)
    assert isinstance(group, PromptGroup)
    assert isinstance(row, BadRow)
    assert (row.fault, row.origin.row) == (fault, 2)


def test_rows_can_be_read_again_and_again(tmp_path: Path) -> None:
    path = tmp_path / "prefs.jsonl"
    path.write_text(json.dumps(GOOD) + "\n{\n")
    source = RowSource([str(path)])
    assert [type(row) for row in source.read()] == [type(row) for row in source.read("Reading")]


def test_columns_are_renamed(tmp_path: Path) -> None:
    [group] = read(
        tmp_path, {"prompt": "q", "better": "yes", "worse": "no"}, columns={"chosen": "better", "rejected": "worse"}
    )
    assert isinstance(group, PromptGroup)
