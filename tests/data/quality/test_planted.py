"""Every number of a report against a plain recount of the file it is about."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from preftune.cli.options import RowSource
from preftune.data.quality.check import CheckSettings, DataFinding
from preftune.data.quality.report import QualityReport
from preftune.data.quality.run import check_groups, prompt_keys
from tests.data.quality.planted import PLANTED, Row, clean_rows, planted_rows, write_rows

NUM_HELD_OUT, NUM_SHARED = 20, 8


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return planted_rows()


@pytest.fixture(scope="module")
def report(rows: list[Row], tmp_path_factory: pytest.TempPathFactory) -> QualityReport:
    folder = tmp_path_factory.mktemp("planted")
    source = RowSource([str(write_rows(folder / "prefs.jsonl", rows, broken=PLANTED.broken))])
    shared = [row for row in rows if Counter(row["prompt"] for row in rows)[row["prompt"]] == 1][:NUM_SHARED]
    other = clean_rows(NUM_HELD_OUT - NUM_SHARED, seed=77)
    held_out = RowSource([str(write_rows(folder / "held-out.jsonl", [*_usable(shared), *other]))])
    return check_groups(source.read, settings=CheckSettings(held_out=prompt_keys(held_out.read())))


def _usable(rows: list[Row]) -> list[Row]:
    return [{**row, "chosen": "yes", "rejected": "no"} for row in rows]


def the(report: QualityReport, check: str, start: str = "") -> DataFinding:
    [found] = [item for item in report.findings if item.rule == check and item.title.startswith(start)]
    return found


@pytest.mark.parametrize(
    ("check", "title", "count"),
    [
        ("unusable", "Rows that cannot be used", PLANTED.broken),
        ("empty", "Rows with an empty completion", PLANTED.empty),
        ("empty", "Completions without a letter or digit", PLANTED.signs),
        ("identical", "Pairs with the same completion", PLANTED.identical),
        ("identical", "Pairs with nearly the same completion", PLANTED.nearly_identical),
        ("contradictions", "Pairs of completions judged one way here", PLANTED.contradictions),
        ("margins", "Pairs that are ties", PLANTED.ties),
        ("margins", "Pairs whose rejected completion", PLANTED.inverted),
        ("margins", "Pairs with a margin below", PLANTED.small),
        ("overlap", "Rows with a prompt of the evaluation data", NUM_SHARED),
        ("duplicates", "Rows that repeat an earlier row", PLANTED.duplicates),
        ("near-duplicates", "Rows nearly like another row", PLANTED.near_duplicates),
        ("refusals", "Refusals among chosen completions", PLANTED.refusals),
        ("truncated", "Long completions that end", PLANTED.truncated),
        ("language", "Completions in another script than Latin", PLANTED.cyrillic),
        ("language", "Completions in another script than their prompt", PLANTED.cyrillic),
        ("control-characters", "Rows with characters that no one typed", PLANTED.control),
        ("template-tokens", "Texts with marks of a chat template", PLANTED.template_tokens),
    ],
)
def test_what_was_planted_is_found_and_nothing_else(report: QualityReport, check: str, title: str, count: int) -> None:
    assert the(report, check, title).count == count


def test_titles_hold_the_counts(report: QualityReport) -> None:
    for found in report.findings:
        if found.rule in ("duplicates", "near-duplicates", "contradictions", "margins", "identical", "empty"):
            assert f": {found.count:,}" in found.title


def usable(row: Row) -> bool:
    return bool(row["rejected"].strip()) and row["chosen"] != row["rejected"]


def length(text: str) -> int:
    return len(text.split())


@pytest.mark.parametrize(
    ("measure", "recount"),
    [
        ("longer", lambda row: length(row["chosen"]) > length(row["rejected"])),
        ("shorter", lambda row: length(row["chosen"]) < length(row["rejected"])),
        ("equal", lambda row: length(row["chosen"]) == length(row["rejected"])),
    ],
)
def test_lengths_are_those_of_a_recount(
    report: QualityReport, rows: list[Row], measure: str, recount: Callable[[Row], bool]
) -> None:
    found = the(report, "length-bias")
    assert found.measures[measure] == sum(recount(row) for row in rows if usable(row))
    assert found.total == sum(map(usable, rows))


def test_the_length_only_classifier_finds_the_rule_that_was_planted(report: QualityReport, rows: list[Row]) -> None:
    found = the(report, "length-bias")
    distinct = {json.dumps(row) for row in rows if usable(row)}
    longer = [length(row["chosen"]) > length(row["rejected"]) for row in map(json.loads, distinct)]
    assert found.measures["num_judged"] == len(distinct)
    assert found.measures["accuracy"] == pytest.approx(sum(longer) / len(longer), abs=0.02)
    assert found.severity == "error"


def test_counts_and_prompts_are_those_of_a_recount(report: QualityReport, rows: list[Row]) -> None:
    kept = [row for row in rows if usable(row)]
    counts = the(report, "counts").measures
    assert (counts["rows"], counts["groups"]) == (len(rows) + PLANTED.broken, len(kept))
    assert (counts["pairs"], counts["completions"]) == (len(kept), 2 * len(kept))
    prompts = Counter(" ".join(row["prompt"].split()).casefold() for row in kept)
    assert the(report, "prompts", "Distinct prompts:").measures["distinct"] == len(prompts)
    assert the(report, "prompts", "Distinct prompts nearly").count == 2 * PLANTED.near_duplicates


def test_lengths_of_completions_have_the_median_of_a_recount(report: QualityReport, rows: list[Row]) -> None:
    lengths = sorted(length(row[side]) for row in rows if usable(row) for side in ("chosen", "rejected"))
    assert the(report, "lengths").measures["completion_median"] == lengths[(len(lengths) - 1) // 2]
    assert the(report, "lengths").measures["completion_longest"] == lengths[-1]
    [picture] = [picture for picture in report.histograms if picture.unit == "words"]
    assert sum(map(sum, picture.counts.values())) == len(lengths)


def test_refusals_of_both_sides_are_counted(report: QualityReport) -> None:
    measures = the(report, "refusals").measures
    assert (measures["chosen"], measures["rejected"]) == (PLANTED.refusals, PLANTED.rejected_refusals)


def test_every_row_that_is_named_has_the_fault(report: QualityReport, rows: list[Row]) -> None:
    at = dict(enumerate(rows, start=1))
    assert {at[origin.row]["margin"] for origin in the(report, "margins", "Pairs that are ties").rows} == {0.0}
    assert all("\x07" in at[origin.row]["chosen"] for origin in the(report, "control-characters").rows)
    assert all(at[origin.row]["chosen"].endswith("and the") for origin in the(report, "truncated").rows)
    seen = {json.dumps(at[row]) for row in range(1, the(report, "duplicates").rows[0].row)}
    assert json.dumps(at[the(report, "duplicates").rows[0].row]) in seen


def test_clean_data_give_only_notes_apart_from_length_bias(tmp_path: Path) -> None:
    source = RowSource([str(write_rows(tmp_path / "clean.jsonl", clean_rows(200, shorter=100)))])
    assert {found.severity for found in check_groups(source.read).findings} == {"note"}
