import json
from pathlib import Path
from typing import Any

import pytest

from preftune.files import outputs
from tests.cli.command_line import call, error_of
from tests.data.quality.planted import PLANTED, Row, clean_rows, planted_rows, write_rows


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "prefs.jsonl", planted_rows(), broken=PLANTED.broken)


def rows_of(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def cleaned(data: Path, *rules: str) -> tuple[list[Row], list[dict[str, str]]]:
    """The rows that stay, and the log."""
    output = data.with_name("clean.jsonl")
    result = call("clean", data, "--output", output, "--overwrite", *rules)
    assert result.exit_code == 0, result.output
    return rows_of(output), rows_of(output.with_name("clean.jsonl.log.jsonl"))


ALL = ("--drop-unusable", "--drop-identical")


@pytest.mark.parametrize(
    ("rule", "name", "count"),
    [
        (["--dedupe"], "dedupe", PLANTED.duplicates),
        (["--drop-ties", "0"], "drop-ties", PLANTED.ties),
        (["--drop-ties", "0.01"], "drop-ties", PLANTED.ties + PLANTED.small),
        (["--resolve-contradictions", "majority"], "resolve-contradictions", 2 * PLANTED.contradictions),
        (["--cap-per-prompt", "1"], "cap-per-prompt", PLANTED.duplicates + PLANTED.contradictions),
    ],
)
def test_a_rule_leaves_out_what_was_planted_and_the_log_names_it(
    planted: Path, rule: list[str], name: str, count: int
) -> None:
    before = planted.read_bytes()
    kept, log = cleaned(planted, *ALL, *rule)
    by_rule = [entry for entry in log if entry["rule"] == name]
    assert len(by_rule) == count
    assert len([entry for entry in log if entry["rule"] == "drop-identical"]) == PLANTED.identical
    assert len([entry for entry in log if entry["rule"] == "drop-unusable"]) == PLANTED.empty + PLANTED.broken
    assert len(kept) + len(log) == len(planted_rows()) + PLANTED.broken
    assert planted.read_bytes() == before


def test_rows_that_stay_are_as_they_were_and_in_order(tmp_path: Path) -> None:
    rows: list[Row] = [{"prompt": "é\n", "chosen": "a", "rejected": "b", "id": 7, "deep": {"x": [None, 1.5]}}] * 2
    kept, log = cleaned(write_rows(tmp_path / "prefs.jsonl", [*rows, {**rows[0], "chosen": "c"}]), "--dedupe")
    assert kept == [rows[0], {**rows[0], "chosen": "c"}]
    assert [(entry["place"], entry["rule"]) for entry in log] == [(f"{tmp_path / 'prefs.jsonl'}:2", "dedupe")]


def test_half_of_a_surrogate_pair_in_a_column_that_nothing_reads_stays_as_it_was(tmp_path: Path) -> None:
    row: Row = {"prompt": "é", "chosen": "a", "rejected": "b", "id": "\ud800", "deep": [{"\udfff": "x"}]}
    data = tmp_path / "prefs.jsonl"
    data.write_text(f"{json.dumps(row)}\n" * 2)
    kept, _ = cleaned(data, "--dedupe")
    assert kept == [row]


def test_cleaned_data_no_longer_have_the_finding(planted: Path) -> None:
    rules = ["--dedupe", "--drop-ties", "0.2", "--resolve-contradictions", "majority", "--balance-length"]
    cleaned(planted, *ALL, *rules)
    arguments = ["--json", "-", "--fail-on", "never"]
    report = json.loads(call("check", planted.with_name("clean.jsonl"), *arguments).stdout)
    checks = {item["check"] for item in report["findings"]}
    assert not checks & {"duplicates", "contradictions", "unusable"}
    assert not any(item["title"].startswith("Pairs with the same") for item in report["findings"])
    [bias] = [item for item in report["findings"] if item["check"] == "length-bias"]
    assert bias["measures"]["longer"] == bias["measures"]["shorter"]


def test_a_csv_file_becomes_json_lines(tmp_path: Path) -> None:
    data = tmp_path / "prefs.csv"
    data.write_text("prompt,chosen,rejected\nq,a,b\nq,a,b\n")
    kept, log = cleaned(data, "--dedupe")
    assert (kept, len(log)) == ([{"prompt": "q", "chosen": "a", "rejected": "b"}], 1)


def test_without_a_rule_it_says_what_check_recommends(planted: Path, tmp_path: Path) -> None:
    error = error_of("clean", planted, "--output", tmp_path / "out.jsonl")
    assert "no rule is chosen" in error
    for line in (
        "--dedupe: Rows that repeat an earlier row: 7",
        "--drop-ties 0: Pairs that are ties",
        "--balance-length",
    ):
        assert line in error
    assert not (tmp_path / "out.jsonl").exists()
    clean = write_rows(tmp_path / "clean.jsonl", clean_rows(200, shorter=100))
    assert "recommends none" in " ".join(error_of("clean", clean).split())


def test_a_row_that_cannot_be_used_is_an_error_that_names_the_rule_for_it(planted: Path, tmp_path: Path) -> None:
    error = " ".join(error_of("clean", planted, "--output", tmp_path / "o.jsonl", "--dedupe").split())
    assert "--drop-" in error
    same = write_rows(tmp_path / "same.jsonl", [*clean_rows(1), {"prompt": "q", "chosen": "a", "rejected": "a"}])
    error = " ".join(error_of("clean", same, "--output", tmp_path / "o.jsonl", "--dedupe").split())
    assert f"{same}:2: 'chosen' and 'rejected' are equal" in error
    assert "--drop-identical" in error


@pytest.mark.parametrize("name", ["prefs.jsonl", "link.jsonl"])
def test_data_are_never_cleaned_in_place(planted: Path, name: str) -> None:
    if name == "link.jsonl":
        planted.with_name(name).symlink_to(planted)
    before = planted.read_bytes()
    error = " ".join(error_of("clean", planted, "--output", planted.with_name(name), "--dedupe", "--overwrite").split())
    assert "is read as data, and data are never changed" in error
    assert planted.read_bytes() == before


def test_an_output_that_is_there_needs_to_be_overwritten(planted: Path) -> None:
    output = planted.with_name("out.jsonl")
    output.write_text("mine")
    assert "--overwrite" in error_of("clean", planted, "--output", output, "--dedupe")
    output.unlink()
    output.with_name("out.jsonl.log.jsonl").write_text("mine")
    assert "out.jsonl.log.jsonl: exists already" in error_of("clean", planted, "--output", output, "--dedupe")


def test_a_full_disk_leaves_nothing_half_written(planted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = planted.with_name("out.jsonl")
    output.write_text("old")

    def full(_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(outputs.WholeFile, "finish", full)
    result = call("clean", planted, "--output", output, "--overwrite", *ALL, "--dedupe")
    assert result.exit_code == 1
    assert "No space left on device" in result.stderr
    assert output.read_text() == "old"
    assert sorted(path.name for path in planted.parent.iterdir()) == ["out.jsonl", "prefs.jsonl"]


def test_nothing_left_is_an_error_and_no_file(tmp_path: Path) -> None:
    data = write_rows(tmp_path / "prefs.jsonl", [{"prompt": "q", "chosen": "a", "rejected": "A", "margin": 0}])
    error = error_of("clean", data, "--output", tmp_path / "out.jsonl", "--drop-ties", "0")
    assert "all 1 rows would be left out" in error
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--dedupe"], "output: is not given."),
        (["--dedupe", "--output", "o.csv"], "Name a file that ends in .jsonl."),
        (["--drop-ties", "-1", "--output", "o.jsonl"], "drop_ties = -1.0"),
        (["--cap-per-prompt", "0", "--output", "o.jsonl"], "cap_per_prompt = 0"),
        (["--resolve-contradictions", "all"], "resolve_contradictions = 'all': must be majority."),
        (["--dedupe", "--seed", "x"], "seed = 'x': must be a whole number"),
    ],
)
def test_invalid_options_are_reported(planted: Path, arguments: list[str], problem: str) -> None:
    assert problem in " ".join(error_of("clean", planted, *arguments).split())


def test_message_trees_are_not_cleaned_row_by_row(tmp_path: Path) -> None:
    tree = {"message_tree_id": "t", "parent_id": None, "message_id": "t", "role": "prompter", "text": "q", "rank": None}
    rows: list[Row] = [
        {**tree, "lang": "en"},
        *(
            {**tree, "message_id": f"a{n}", "parent_id": "t", "role": "assistant", "text": f"answer {n}", "rank": n}
            for n in range(2)
        ),
    ]
    data = write_rows(tmp_path / "trees.jsonl", rows)
    error = " ".join(error_of("clean", data, "--output", tmp_path / "out.jsonl", "--cap-per-prompt", "1").split())
    assert "several rows make up one" in error
    assert not (tmp_path / "out.jsonl").exists()
