import logging
import re
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from pandas import DataFrame

from preftune import KTOConfig, SFTConfig
from preftune.compat.rows import read_rows
from preftune.errors import DataError, PreftuneError
from tests.compat.runs import TOKENIZER, config_of, make_rows, make_thumbs, settings_of
from tests.data.tokenizers_for_tests import make_tokenizer


def test_weights_are_cut_with_their_tokens(tmp_path: Path) -> None:
    row = {"prompt": "What is 2+2?", "chosen": " 1234567", "rejected": " 7", "chosen_weights": [[0, 2, 0.5]]}
    [whole], _ = read_rows([row], "pairs", TOKENIZER, config_of(tmp_path, max_length=None))
    [group], _ = read_rows([row], "pairs", TOKENIZER, config_of(tmp_path, max_length=len(whole.prompt) + 4))
    assert group.weights[0].tolist() == [0.5, 0.5, 1.0, 1.0]


def test_lists_and_datasets_give_the_same_groups(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    rows = make_rows(5)
    from_list, _ = read_rows(rows, "rows", TOKENIZER, config)
    from_dataset, _ = read_rows(Dataset.from_list(rows), "rows", TOKENIZER, config)
    for one, other in zip(from_list, from_dataset, strict=True):
        assert [ids.tolist() for ids in (one.prompt, *one.completions)] == [
            ids.tolist() for ids in (other.prompt, *other.completions)
        ]


def test_losses_of_data_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [*make_rows(3), {"prompt": "eggs " * 40, "chosen": " a", "rejected": " b"}]
    with caplog.at_level(logging.WARNING):
        groups, report = read_rows(rows, "pairs", TOKENIZER, config_of(tmp_path, max_length=40))
    assert len(groups) == 3
    assert report.dropped == ("pairs:4",)
    assert "1 prompts were too long and were left out: pairs:4" in caplog.text


def test_the_first_row_is_not_lost_to_a_look_at_it(tmp_path: Path) -> None:
    groups, _ = read_rows(iter(make_rows(5)), "rows", TOKENIZER, config_of(tmp_path))
    assert [group.origin.row for group in groups] == [1, 2, 3, 4, 5]


def test_thumbs_carry_completions_of_other_rows(tmp_path: Path) -> None:
    groups, _ = read_rows(make_thumbs(5), "rows", TOKENIZER, KTOConfig(**settings_of(tmp_path, max_length=16)))
    assert [group.desirable for group in groups] == [(True,), (False,), (True,), (False,), (True,)]
    assert all(len(group.mismatched) == 1 for group in groups)
    assert all(len(group.prompt) + len(group.mismatched[0]) <= 16 for group in groups)


def test_a_loss_without_matches_has_none(tmp_path: Path) -> None:
    config = KTOConfig(**settings_of(tmp_path, loss_type="apo_zero_unpaired"))
    groups, _ = read_rows(make_thumbs(3), "rows", TOKENIZER, config)
    assert all(group.mismatched == () for group in groups)


def test_demonstrations_that_are_marked_as_bad_are_left_out_and_counted(tmp_path: Path) -> None:
    groups, report = read_rows(make_thumbs(4), "rows", TOKENIZER, SFTConfig(**settings_of(tmp_path)))
    assert len(groups) == 2
    assert len(report.undesirable) == 2


def test_a_frame_is_as_good_as_its_rows(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    rows = make_rows(3)
    given, wanted = (read_rows(given, "pairs", TOKENIZER, config) for given in (DataFrame(rows), rows))
    assert [group.keys for group in given[0]] == [group.keys for group in wanted[0]]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "pairs: there are no rows"),
        ([{"prompt": "a", "chosen": "b"}], "no format has these columns"),
        ([{"prompt": "a", "chosen": " b", "rejected": " b"}], "pairs:1: 'chosen' and 'rejected' are equal"),
        ([{"prompt": "a", "completion": " b"}], "pairs:1: the prompt has no pair"),
        ([{"prompt": "a", "chosen": " b", "rejected": " c", "images": ["a.png"]}], "pairs:1: field 'images'"),
        ([{"prompt": "a", "chosen": " b", "rejected": " c", "tools": "[1]"}], r"pairs:1: field 'tools\[0\]'"),
        (["text"], "pairs:1: the row is of type str"),
        ({"train": []}, r"pairs: holds several data sets \(train\)"),
        ([{"prompt": "eggs " * 40, "chosen": " a", "rejected": " b"}], "no row is left to train on"),
    ],
)
def test_rows_that_cannot_be_used_are_named(tmp_path: Path, rows: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_rows(rows, "pairs", TOKENIZER, config_of(tmp_path, max_length=40))


PAIR = {"prompt": "a", "chosen": " b", "rejected": " c"}
EQUAL = {"prompt": "a", "chosen": " b", "rejected": " b"}
EMPTY = {"prompt": "a", "chosen": " ", "rejected": " b"}
NO_PROMPT = {"prompt": "", "chosen": " b", "rejected": " c"}


def test_all_rows_that_cannot_be_used_are_counted(tmp_path: Path) -> None:
    rows = [*make_rows(2), EQUAL, EMPTY, *make_rows(1), EMPTY]
    with pytest.raises(DataError) as caught:
        read_rows(rows, "pairs", TOKENIZER, config_of(tmp_path))
    lines = str(caught.value).splitlines()
    assert lines[0] == "3 of 6 rows cannot be used:"
    assert [line.split(": ")[0] for line in lines[1:-1]] == ["  pairs:3", "  pairs:4", "  pairs:6"]


@pytest.mark.parametrize("bad", [[EQUAL], [EMPTY], [NO_PROMPT], [NO_PROMPT, EQUAL, EMPTY, NO_PROMPT]], ids=str)
def test_rows_that_cannot_be_used_are_skipped_on_request(tmp_path: Path, bad: list[dict[str, Any]]) -> None:
    tokenizer = make_tokenizer(bos=None)
    assert tokenizer.bos_token is None
    groups, report = read_rows([*bad, *make_rows(3)], "pairs", tokenizer, config_of(tmp_path, on_bad_row="skip"))
    assert [group.origin.row for group in groups] == [len(bad) + number for number in (1, 2, 3)]
    assert len(report.skipped) == len(bad)
    with pytest.raises(DataError, match="pairs:1"):
        read_rows([*bad, *make_rows(3)], "pairs", tokenizer, config_of(tmp_path))


def test_all_rows_that_cannot_be_tokenized_are_counted(tmp_path: Path) -> None:
    rows = [NO_PROMPT, *make_rows(3), NO_PROMPT]
    with pytest.raises(DataError, match=r"2 of 5 rows cannot be used:\n  pairs:1: .*\n  pairs:5: "):
        read_rows(rows, "pairs", make_tokenizer(bos=None), config_of(tmp_path))


def test_no_usable_row_is_an_error_in_any_case(tmp_path: Path) -> None:
    for rows in ([EQUAL, EMPTY], [NO_PROMPT, NO_PROMPT]):
        with pytest.raises(DataError, match="pairs"):
            read_rows(rows, "pairs", make_tokenizer(bos=None), config_of(tmp_path, on_bad_row="skip"))


def test_thumbs_of_one_prompt_are_matched_with_each_other(tmp_path: Path) -> None:
    rows = [
        {"prompt": "Bake", "completion": f" {word}.", "label": word == "cake"} for word in ("cake", "eggs", "flour")
    ]
    groups, _ = read_rows(rows, "rows", TOKENIZER, KTOConfig(**settings_of(tmp_path)))
    completions = [group.completions[0].tolist() for group in groups]
    assert [group.mismatched[0].tolist() for group in groups] == [*completions[1:], completions[0]]
    with pytest.raises(DataError, match="the same prompt"):
        read_rows(rows[:1], "rows", TOKENIZER, KTOConfig(**settings_of(tmp_path)))


UNREADABLE: dict[str, list[Any]] = {
    "equal": [EQUAL],
    "several": [EQUAL, EMPTY],
    "no format": [{"question": "a", "better": "b"}],
    "not a row": ["text"],
    "empty prompt": [NO_PROMPT],
    "too long": [{"prompt": "eggs " * 40, "chosen": " a", "rejected": " b"}],
    "no pairs": [{"prompt": "a", "completion": " b"}],
    "messages": [{name: [{"role": "tool", "content": text}] for name, text in PAIR.items()}],
    "without a template": [{name: [{"role": "user", "content": text}] for name, text in PAIR.items()}],
}


@pytest.mark.parametrize("on_bad_row", ["error", "skip"])
@pytest.mark.parametrize("rows", UNREADABLE.values(), ids=UNREADABLE)
def test_messages_name_no_flag_of_the_command_line(tmp_path: Path, rows: list[Any], on_bad_row: str) -> None:
    tokenizer = make_tokenizer(bos=None, chat_template=None)
    with pytest.raises(PreftuneError) as caught:
        read_rows(rows, "pairs", tokenizer, config_of(tmp_path, max_length=40, on_bad_row=on_bad_row))
    assert not re.search(r"(?<!\w)--[a-z]", str(caught.value).replace("preftune train --", "")), str(caught.value)
