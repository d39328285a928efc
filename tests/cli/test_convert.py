"""`preftune convert`: new files, whole or not at all, and what is said of the rest."""

import json
from pathlib import Path
from typing import Any

import pytest

from preftune.data.load import load_groups
from preftune.groups import Pair
from tests.cli.command_line import call, error_of
from tests.data.formats.published import path_of

PAIR = {"prompt": "2+2=", "chosen": "4", "rejected": "5", "lang": "en"}


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def words(text: str) -> str:
    return " ".join(text.replace("│", " ").split())


def test_a_file_of_one_layout_becomes_a_file_of_another(tmp_path: Path) -> None:
    output = tmp_path / "deep" / "pairs.jsonl"
    result = call("convert", path_of("nectar.jsonl"), "--to", "pairs", "--pairing", "best_vs_worst", "--output", output)
    assert result.exit_code == 0, result.output
    [group] = load_groups(str(output)).groups
    assert group.pairs == (Pair(0, 1, 2.0),)
    assert [completion.content for completion in group.completions] == ["The Nile.", "The Rhine."]


def test_conversations_stay_conversations_with_their_tool_calls(tmp_path: Path) -> None:
    call_ = {"type": "function", "function": {"name": "add", "arguments": {"a": 2, "b": 2}}}
    chosen = [
        {"role": "assistant", "content": "", "tool_calls": [call_]},
        {"role": "tool", "content": "4"},
        {"role": "assistant", "content": "Vier. 四"},
    ]
    row = {"prompt": [{"role": "user", "content": "2+2="}], "chosen": chosen, "rejected": "5"}
    output = tmp_path / "trl.jsonl"
    call("convert", write(tmp_path / "a.jsonl", row), "--to", "trl-preference", "--output", output)
    assert lines(output) == [row | {"rejected": [{"role": "assistant", "content": "5"}]}]
    assert "四" in output.read_text(encoding="utf-8")


def test_the_summary_counts_rows_in_and_out_and_what_was_left_out_and_why(tmp_path: Path) -> None:
    rows = [PAIR, "{\n", PAIR | {"lang": "de"}, PAIR | {"chosen": ""}, PAIR]
    data = write(tmp_path / "a.jsonl", *rows)
    arguments: list[str | Path] = ["--where", "lang=en", "--on-bad-row", "skip", "--output", tmp_path / "b.jsonl"]
    text = words(call("convert", data, "--to", "trl-unpaired", *arguments).stdout)
    assert "5 rows read 2 prompts in them 4 rows written" in text
    assert "2 left out, rows cannot be used:" in text
    assert "1 left out, not lang=en:" in text
    assert "a.jsonl:3" in text.replace(" ", "")
    assert [row["label"] for row in lines(tmp_path / "b.jsonl")] == [True, False] * 2


def test_several_sources_become_one_file_and_further_scores_are_kept_by_name(tmp_path: Path) -> None:
    first = write(tmp_path / "a.jsonl", PAIR | {"chosen_safety": 2, "rejected_safety": 1})
    second = write(tmp_path / "b.jsonl", PAIR | {"chosen_safety": 3, "rejected_safety": 0})
    output = tmp_path / "c.jsonl"
    call("convert", first, second, "--to", "pairs", "--score", "safety", "--output", output)
    assert [(row["chosen_safety"], row["rejected_safety"]) for row in lines(output)] == [(2.0, 1.0), (3.0, 0.0)]


def test_an_existing_file_is_replaced_only_on_request(tmp_path: Path) -> None:
    data, output = write(tmp_path / "a.jsonl", PAIR), write(tmp_path / "b.jsonl", "kept")
    arguments: list[str | Path] = ["convert", data, "--to", "thumbs", "--output", output]
    assert "exists already. Replace it with --overwrite" in error_of(*arguments)
    assert output.read_text() == "kept"
    assert call(*arguments, "--overwrite").exit_code == 0
    assert len(lines(output)) == 2


@pytest.mark.parametrize("where", ["a.jsonl", "./a.jsonl", "data/new.jsonl"])
def test_data_are_never_written_into(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    sources = [write(tmp_path / "a.jsonl", PAIR), write(tmp_path / "data" / "b.jsonl", PAIR).parent]
    error = error_of("convert", *sources, "--to", "thumbs", "--output", where, "--overwrite")
    assert "is read as data, and data are never changed" in error
    assert lines(tmp_path / "a.jsonl") == [PAIR]


def test_a_conversion_that_fails_leaves_nothing_and_keeps_what_was_there(tmp_path: Path) -> None:
    data, output = write(tmp_path / "a.jsonl", PAIR, PAIR | {"rejected": None}), write(tmp_path / "b.jsonl", "kept")
    error = error_of("convert", data, "--to", "thumbs", "--output", output, "--overwrite")
    assert "a.jsonl:2: field 'rejected' is missing. Fix the row, or skip such rows" in error
    assert output.read_text() == "kept"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl", "b.jsonl"]


def test_a_layout_that_cannot_hold_the_data_is_an_error_that_says_which_can(tmp_path: Path) -> None:
    error = error_of("convert", path_of("reviews.jsonl"), "--to", "pairs", "--output", tmp_path / "b.jsonl")
    assert "no row could be converted to pairs" in error
    assert "can become: thumbs, demonstrations, trl-unpaired" in error


def test_all_errors_of_a_call_are_reported_at_once() -> None:
    error = " ".join(error_of("convert", "--to", "csv", "--output", "b.csv", "--pairing", "some").split())
    for problem in (
        "data: is not given",
        "to = 'csv': must be one of pairs, thumbs, lists, demonstrations, messages, trl-preference, trl-unpaired",
        "output = b.csv: rows are written as JSON Lines",
        "pairing = 'some': must be one of",
    ):
        assert problem in error
    error = error_of("convert", "a.jsonl")
    assert "to: is not given" in error
    assert "output: is not given" in error


def test_half_a_character_in_a_further_field_of_a_message_is_kept(tmp_path: Path) -> None:
    prompt = [{"role": "user", "content": "2+2=", "name": "\ud800"}]
    data = write(tmp_path / "a.jsonl", {"prompt": prompt, "chosen": "4", "rejected": "5"})
    call("convert", data, "--to", "trl-preference", "--output", tmp_path / "b.jsonl")
    assert lines(tmp_path / "b.jsonl")[0]["prompt"] == prompt
