import logging
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset

from preftune.compat.preference_rows import keep_start, read_preferences
from preftune.data import TokenizedGroups, TokenReport
from preftune.errors import DataError
from tests.builders import token_groups
from tests.compat.runs import TOKENIZER, config_of, make_rows


def tokenized(count: int = 20) -> TokenizedGroups:
    return TokenizedGroups(token_groups(count), TokenReport(count, (), (), (), ()))


def test_a_sequence_loses_its_end_and_never_its_prompt() -> None:
    before = tokenized()
    by_origin = {group.origin: group for group in before.groups}
    after = keep_start(before, 10)
    assert 0 < len(after.groups) < len(before.groups)
    for group in after.groups:
        whole = by_origin[group.origin]
        assert group.prompt.tolist() == whole.prompt.tolist()
        for ids, all_ids in zip(group.completions, whole.completions, strict=True):
            assert ids.tolist() == all_ids[: 10 - len(group.prompt)].tolist()


def test_what_is_cut_and_left_out_is_counted() -> None:
    before = tokenized()
    report = keep_start(before, 10).report
    too_long = [group.origin for group in before.groups if len(group.prompt) >= 10]
    cut = [
        group.origin
        for group in before.groups
        for ids in group.completions
        if len(group.prompt) < 10 < len(group.prompt) + len(ids)
    ]
    assert (report.dropped, report.completions_cut) == (tuple(too_long), tuple(cut))


def test_no_limit_changes_nothing() -> None:
    before = tokenized()
    assert keep_start(before, None) is before


def test_lists_and_datasets_give_the_same_groups(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    rows = make_rows(5)
    from_list, _ = read_preferences(rows, "rows", TOKENIZER, config)
    from_dataset, _ = read_preferences(Dataset.from_list(rows), "rows", TOKENIZER, config)
    for one, other in zip(from_list, from_dataset, strict=True):
        assert [ids.tolist() for ids in (one.prompt, *one.completions)] == [
            ids.tolist() for ids in (other.prompt, *other.completions)
        ]


def test_what_is_lost_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [*make_rows(3), {"prompt": "eggs " * 40, "chosen": " a", "rejected": " b"}]
    with caplog.at_level(logging.WARNING):
        groups, report = read_preferences(rows, "pairs", TOKENIZER, config_of(tmp_path, max_length=40))
    assert len(groups) == 3
    assert report.dropped == ("pairs:4",)
    assert "1 prompts were too long and were left out: pairs:4" in caplog.text


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "pairs: there are no rows"),
        ([{"prompt": "a", "chosen": "b"}], "no format has these columns"),
        ([{"prompt": "a", "chosen": " b", "rejected": " b"}], "pairs:1: 'chosen' and 'rejected' are equal"),
        ([{"prompt": "a", "completion": " b"}], "pairs:1: the prompt has no pair"),
        ([{"prompt": "a", "chosen": " b", "rejected": " c", "tools": "[1]"}], "pairs:1: field 'tools'"),
        (["text"], "pairs:1: the row is of type str"),
        ({"train": []}, r"pairs: holds several data sets \(train\)"),
        (Dataset.from_list(make_rows(2)).to_iterable_dataset(), "pairs: is a stream"),
        ([{"prompt": "eggs " * 40, "chosen": " a", "rejected": " b"}], "nothing is left to learn from"),
    ],
)
def test_rows_that_cannot_be_used_are_named(tmp_path: Path, rows: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_preferences(rows, "pairs", TOKENIZER, config_of(tmp_path, max_length=40))
