import gzip
import json
import os
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from preftune.data.quality.checks import CHECKS
from tests.cli.command_line import call, error_of, tune
from tests.data.quality.planted import PLANTED, clean_rows, planted_rows, write_rows
from tests.data.tokenizers_for_tests import make_tokenizer


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(tmp_path_factory.mktemp("planted") / "prefs.jsonl", planted_rows(), broken=PLANTED.broken)


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(tmp_path_factory.mktemp("clean") / "prefs.jsonl", clean_rows(200, shorter=100))


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    make_tokenizer().save_pretrained(folder)
    return folder


def as_json(*arguments: str | Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(call("check", *arguments, "--json", "-", "--fail-on", "never").stdout)
    return result


def test_the_table_names_findings_rows_and_what_to_do(planted: Path) -> None:
    result = call("check", planted)
    text = " ".join(result.stdout.replace("│", " ").split())
    assert "Rows that repeat an earlier row: 7" in text
    assert "`preftune clean --dedupe`" in text
    assert "not checked: overlap (needs --eval-data)" in text
    assert "errors" in text
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("data", "fail_on", "code"),
    [
        ("planted", "error", 1),
        ("planted", "warning", 1),
        ("planted", "never", 0),
        ("clean", "error", 0),
        ("clean", "warning", 0),
    ],
)
def test_the_exit_code_tells_a_pipeline_whether_to_continue(
    data: str, fail_on: str, code: int, request: pytest.FixtureRequest
) -> None:
    assert call("check", request.getfixturevalue(data), "--fail-on", fail_on).exit_code == code


def test_warnings_fail_only_on_request(tmp_path: Path) -> None:
    rows = clean_rows(200, shorter=100)
    path = write_rows(tmp_path / "prefs.jsonl", [*rows, *rows[:3]])
    assert call("check", path).exit_code == 0
    assert call("check", path, "--fail-on", "warning").exit_code == 1


def test_json_is_the_report_and_nothing_else(planted: Path, tmp_path: Path) -> None:
    printed = as_json(planted, "--skip", "shortcuts")
    assert printed["version"] == 1
    assert printed["num_rows"] == len(planted_rows()) + PLANTED.broken
    [found] = [item for item in printed["findings"] if item["check"] == "duplicates"]
    assert (found["count"], found["severity"], len(found["rows"])) == (
        PLANTED.duplicates,
        "warning",
        PLANTED.duplicates,
    )
    assert found["rows"][0].startswith(f"{planted}:")
    call("check", planted, "--skip", "shortcuts", "--json", tmp_path / "report.json")
    written = json.loads((tmp_path / "report.json").read_text())
    assert {**written, "seconds": 0} == {**printed, "seconds": 0}


def test_only_and_skip_choose_checks_and_list_names_them(clean: Path) -> None:
    assert as_json(clean, "--only", "counts", "--only", "margins")["checks"] == ["counts", "margins"]
    assert as_json(clean, "--skip", "shortcuts", "--only", "counts")["checks"] == ["counts"]
    text = call("check", "--list").stdout
    assert all(name in text for name in CHECKS)


def test_a_tokenizer_counts_tokens_as_training_does(clean: Path, tokenizer: Path) -> None:
    from preftune.data.load import load_groups
    from preftune.data.tokens.tokenize import tokenize_groups
    from preftune.settings.chat import ChatChoice, ChatMode

    modes: tuple[ChatMode, ...] = ("auto", "off")
    report = {
        mode: as_json(clean, "--tokenizer", tokenizer, "--max-length", "250", "--only", "tokens", "--chat", mode)
        for mode in modes
    }
    for mode, [found] in ((mode, one["findings"]) for mode, one in report.items()):
        tokenized = tokenize_groups(
            load_groups(str(clean)).groups, make_tokenizer(), max_length=None, chat=ChatChoice(mode)
        )
        lengths = [len(group.prompt) + len(ids) for group in tokenized.groups for ids in group.completions]
        assert (found["count"], found["total"]) == (sum(length > 250 for length in lengths), len(lengths))
        assert found["measures"]["longest"] == max(lengths)
    assert report["auto"] != report["off"]


def test_special_tokens_are_those_of_the_tokenizer(tokenizer: Path, tmp_path: Path) -> None:
    path = write_rows(tmp_path / "prefs.jsonl", [{"prompt": "q", "chosen": "yes <|end|>", "rejected": "no"}])
    [found] = as_json(path, "--tokenizer", tokenizer, "--only", "special-tokens")["findings"]
    assert found["measures"] == {"'<|end|>'": 1}


def test_held_out_prompts_are_looked_for_in_the_data(clean: Path, tmp_path: Path) -> None:
    held_out = write_rows(tmp_path / "held-out.jsonl", clean_rows(200, shorter=100)[:4])
    [found] = as_json(clean, "--eval-data", held_out, "--only", "overlap")["findings"]
    assert (found["count"], found["measures"]["eval_prompts"]) == (4, 4)


def test_no_examples_means_no_word_of_the_data(tmp_path: Path) -> None:
    row = {"prompt": "sesame prompt", "chosen": "sesame seed ...", "rejected": "I can't do that, sesame."}
    path = write_rows(tmp_path / "prefs.jsonl", [row, row, {**row, "chosen": "...", "margin": 0}])
    page = tmp_path / "page.html"
    assert "sesame" in call("check", path, "--html", page).stdout + page.read_text()
    result = call("check", path, "--no-examples", "--html", page, "--overwrite")
    assert "sesame" not in result.stdout + page.read_text()


def test_several_files_compressed_or_not_are_one_data_set(tmp_path: Path) -> None:
    first = write_rows(tmp_path / "a.jsonl", clean_rows(3))
    second = tmp_path / "b.jsonl.gz"
    second.write_bytes(gzip.compress(first.read_bytes()))
    report = as_json(first, second, "--only", "duplicates")
    assert report["findings"][0]["rows"] == [f"{second}:{row}" for row in (1, 2, 3)]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "data: is not given."),
        (["x.jsonl", "--max-length", "9"], "max_length = 9: says nothing without a tokenizer."),
        (["x.jsonl", "--chat-template", "t"], "chat_template = t: says nothing without a tokenizer."),
        (["x.jsonl", "--html", "-"], "html = -: a page cannot be printed."),
        (["x.jsonl", "--json", "r", "--html", "r"], "are the same file"),
        (["x.jsonl", "--fail-on", "all"], "fail_on = 'all': must be one of error, warning, never."),
        (["x.jsonl", "--seed", "x"], "seed = 'x': must be a whole number"),
        (["x.jsonl", "--only", "margin"], "Did you mean margins?"),
        (["x.jsonl", "--columns", "chosen"], "columns = 'chosen': must be written as name=column"),
        (["x.jsonl"], "x.jsonl: there is no such file or folder."),
        (["x.jsonl", "--tokenizer", "./nowhere"], "there is no such folder"),
    ],
)
def test_invalid_options_are_reported(arguments: list[str], problem: str) -> None:
    assert problem in " ".join(error_of("check", *arguments).split())


def test_the_data_are_never_overwritten_by_a_report(clean: Path, tmp_path: Path) -> None:
    before = clean.read_bytes()
    link = tmp_path / "link.jsonl"
    os.link(clean, link)
    for target in (clean, link):
        error = error_of("check", clean, "--json", target, "--overwrite")
        assert "is read as data, and data are never changed" in " ".join(error.split())
    assert clean.read_bytes() == before
    (tmp_path / "report.json").write_text("mine")
    assert "exists already" in error_of("check", clean, "--json", tmp_path / "report.json")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(st.one_of(st.binary(max_size=40), st.text(max_size=40).map(str.encode)), max_size=5))
def test_garbage_gives_a_message_and_no_traceback(lines: list[bytes], tmp_path: Path) -> None:
    good = json.dumps({"prompt": "q", "chosen": "yes", "rejected": "no"}).encode()
    path = tmp_path / "prefs.jsonl"
    path.write_bytes(b"\n".join([*lines, good]))
    assert call("check", path, "--skip", "shortcuts").exit_code in (0, 1)
    path.write_bytes(b"\n".join(lines))
    assert call("check", path, "--skip", "shortcuts").exit_code in (0, 1, 2)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.dictionaries(
            st.sampled_from(["prompt", "chosen", "rejected", "margin", "score_chosen", "score_rejected"]),
            st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=8), st.lists, max_leaves=4),
        ),
        max_size=5,
    )
)
def test_fields_of_any_type_give_findings_and_no_traceback(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    path = tmp_path / "prefs.jsonl"
    good = {"prompt": "q", "chosen": "yes", "rejected": "no"}
    path.write_text("".join(json.dumps(row) + "\n" for row in [good, *rows]))
    assert call("check", path).exit_code in (0, 1)


def test_the_report_of_a_shuffled_file_has_the_same_counts(planted: Path, tmp_path: Path) -> None:
    rows = planted_rows()
    other = write_rows(tmp_path / "prefs.jsonl", random.Random(3).sample(rows, len(rows)), broken=PLANTED.broken)
    counts = [
        sorted(
            (item["check"], item["title"].partition(". ")[0], item["count"])
            for item in as_json(path)["findings"]
            if item["check"] != "suspicious"
        )
        for path in (planted, other)
    ]
    assert counts[0] == counts[1]


@pytest.fixture(scope="module")
def run_folder(model_folder: Path, pairs_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "dpo"
    assert call(*tune(model_folder, pairs_file, folder, "--epochs", "3")).exit_code == 0
    return folder


def test_a_run_adds_what_it_says_of_labels_to_the_report(run_folder: Path, pairs_file: Path) -> None:
    shown = call("check", pairs_file, "--model", run_folder, "--fail-on", "never")
    assert shown.exit_code == 0, shown.output
    assert "Labels that are likely flipped" in shown.stdout
    printed = call("check", pairs_file, "--model", run_folder, "--json", "-", "--fail-on", "never")
    labels = json.loads(printed.stdout)["labels"]
    assert labels["num_pairs"] == 6
    assert {row["source"] for row in labels["likeliest_flipped"]} == {str(pairs_file)}


def test_a_model_that_is_not_a_run_cannot_judge_labels(model_folder: Path, pairs_file: Path) -> None:
    assert "is not the folder of a run" in error_of("check", pairs_file, "--model", model_folder)
