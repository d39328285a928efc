import re
import shutil
import subprocess
from pathlib import Path

import pytest

from preftune.data.quality.check import CheckSettings, DataFinding, Example
from preftune.data.quality.histogram import Histogram
from preftune.data.quality.report import QualityReport
from preftune.data.quality.run import check_groups
from preftune.groups import Origin, PromptGroup
from preftune.report.check_page import check_page, histogram_svg
from tests.data.quality.groups import by_word, numbered, pair
from tests.data.quality.planted import clean_rows
from tests.report.html_links import asks_for_nothing, parsed

NASTY = "<script>alert(1)</script><img src=x onerror=alert(1)> & ]]>"


@pytest.fixture(scope="module")
def report() -> QualityReport:
    rows = [pair(row["prompt"], row["chosen"], row["rejected"], margin=row["margin"]) for row in clean_rows(80)]
    groups: list[PromptGroup] = numbered([*rows, *rows[:2], pair(NASTY, f"{NASTY} \x07", NASTY + "...")])
    return check_groups(lambda: groups, settings=CheckSettings(max_length=60), count_tokens=by_word)


def test_the_page_asks_for_nothing_outside_itself(report: QualityReport) -> None:
    assert asks_for_nothing(check_page(report))


def test_texts_of_the_data_are_escaped(report: QualityReport) -> None:
    page = check_page(report)
    assert NASTY not in page
    assert "&lt;script&gt;" in page
    assert "img" not in parsed(page).tags


def test_every_finding_is_there_with_its_numbers_reason_and_advice(report: QualityReport) -> None:
    page = check_page(report)
    for number, found in enumerate(report.findings, start=1):
        assert f'id="finding-{number}"' in page
        assert f'href="#finding-{number}"' in page
        assert f"{found.count:,} of {found.total:,} {found.unit}" in page
    assert "<code>preftune clean --dedupe</code>" in page
    assert "Not checked: overlap (needs --eval-data)." in page


def test_there_is_a_picture_of_lengths_margins_and_tokens(report: QualityReport) -> None:
    page = check_page(report)
    assert page.count("<svg") == 3
    for label in ("Length of completions in words (chosen, rejected)", "Margin of chosen", "tokens"):
        assert label in page


def test_a_report_about_nothing_is_a_page_as_well() -> None:
    assert "no rows" in check_page(check_groups(list))


def test_ids_of_pictures_do_not_clash_with_those_of_findings(report: QualityReport) -> None:
    ids = re.findall(r'\bid="(finding-\d+)"', check_page(report))
    assert len(ids) == len(set(ids)) == len(report.findings)


def test_a_report_without_texts_has_none() -> None:
    found = DataFinding(
        rule="x",
        severity="error",
        title="t",
        advice="",
        count=1,
        total=2,
        unit="rows",
        reason="because",
        examples=(Example(Origin("a.jsonl", 3)),),
        measures={"share": 0.5},
    )
    page = check_page(QualityReport(("a.jsonl",), 2, (found,), (), ("x",), {}, 0.1))
    assert "a.jsonl:3" in page
    assert 'class="text"' not in page


@pytest.mark.parametrize("is_logarithmic", [True, False])
@pytest.mark.parametrize("edges", [(0.5, 1.5), (1.0, 2.0, 4.0), (1.0, 1e6), (-3.0, 0.0, 1e100)])
def test_a_picture_of_any_numbers_is_one_svg_element(edges: tuple[float, ...], is_logarithmic: bool) -> None:
    counts = {"chosen": (3,) * (len(edges) - 1), "rejected": (0,) * (len(edges) - 1)}
    svg = histogram_svg(Histogram("Lengths", "words", edges, counts, is_logarithmic and edges[0] > 0, limit=2.0))
    assert svg.startswith("<svg role=")
    assert svg.rstrip().endswith("</svg>")
    assert "<metadata" not in svg
    assert 'aria-label="Histogram: Lengths in words (chosen, rejected)"' in svg


def test_pictures_of_the_same_numbers_are_the_same() -> None:
    histogram = Histogram("Lengths", "words", (1.0, 2.0), {"pairs": (3,)})
    assert histogram_svg(histogram) == histogram_svg(histogram)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no Chromium")
def test_chromium_shows_the_page_without_a_network(report: QualityReport, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(check_page(report), encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND"]
    flags += [
        f"--user-data-dir={tmp_path / 'profile'}",
        "--window-size=390,900",
        f"--screenshot={tmp_path / 'page.png'}",
    ]
    subprocess.run(["chromium", *flags, page.as_uri()], check=True, capture_output=True, timeout=120)
    assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")
