import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from preftune.cli.main import preftune
from preftune.losses import ALL_LOSSES, loss_options
from preftune.report.losses_page import losses_page
from tests.cli.command_line import call, error_of


def words(text: str) -> str:
    return " ".join(text.split())


def test_the_list_has_a_row_for_each_method_with_its_options_and_paper() -> None:
    lines = call("methods").stdout.splitlines()
    for name, loss in ALL_LOSSES.items():
        (row,) = [line for line in lines if line.split()[:1] == [name]]
        assert loss.source in row
        assert ("reference" in row) == loss.needs_reference
    (row,) = [line for line in lines if line.split()[:1] == ["ipo"]]
    assert words(row) == "ipo reference tau 0.1, length_normalized off arXiv:2310.12036"


def test_the_list_is_grouped_by_what_methods_learn_from() -> None:
    text = call("methods").stdout
    titles = ["Demonstrations: ", "Pairs: ", "Thumbs: ", "Lists: "]
    places = [text.index(title) for title in titles]
    assert places == sorted(places)
    assert places[1] < text.index(" dpo ") < places[2] < text.index(" kto ") < places[3]


def test_the_list_names_methods_that_need_margins() -> None:
    text = call("methods").stdout
    assert text.count("margins") == sum(loss.needs("margins") for loss in ALL_LOSSES.values())


@pytest.mark.parametrize("width", ["80", "140"])
def test_no_name_option_or_paper_is_cut_off_at_a_usual_width(width: str) -> None:
    text = CliRunner().invoke(preftune, ["methods"], env={"COLUMNS": width}).stdout
    assert "…" not in text
    assert all(name in text and loss.source in text for name, loss in ALL_LOSSES.items())


@pytest.mark.parametrize("name", ALL_LOSSES)
def test_one_method_is_described_with_formula_options_source_and_example(name: str) -> None:
    text = call("methods", name).stdout
    for heading in ("Use", "Learns from", "Inputs", "Returns", "Source", "Differs", "Example"):
        assert f"\n{heading}\n" in text
    assert "loss" in text.partition("\nUse\n")[0]
    for option in loss_options(ALL_LOSSES[name]):
        assert f"  --{option.name.replace('_', '-')}" in text
    assert ("\nOptions\n" in text) == bool(loss_options(ALL_LOSSES[name]))
    assert "\n  >>> " in text


def test_lines_of_a_formula_and_of_code_are_never_broken() -> None:
    text = call("methods", "dpo").stdout
    long = "  loss   = -(1 - label_smoothing) * log sigmoid(margin) - label_smoothing * log sigmoid(-margin)"
    assert long in text.splitlines()
    assert max(map(len, text.splitlines())) > 100


def test_an_unknown_method_is_refused_with_the_nearest() -> None:
    error = error_of("methods", "simpoo")
    assert "method = simpoo: there is no such method. Did you mean simpo?" in error


def test_machines_get_all_methods_or_one_as_json() -> None:
    found = json.loads(call("methods", "--json").stdout)
    assert [item["name"] for item in found] == list(ALL_LOSSES)
    (one,) = [item for item in found if item["name"] == "ipo"]
    assert json.loads(call("methods", "ipo", "--json").stdout) == one
    assert one["feedback"] == "pairs"
    assert one["needs_reference"] is True
    assert [(option["name"], option["default"]) for option in one["options"]] == [
        ("tau", 0.1),
        ("length_normalized", False),
    ]


def test_the_page_is_written_into_a_file(tmp_path: Path) -> None:
    result = call("methods", "--page", tmp_path / "losses.md")
    assert result.exit_code == 0
    assert words(result.stdout).endswith(f"{len(ALL_LOSSES)} methods")
    assert (tmp_path / "losses.md").read_text(encoding="utf-8") == losses_page()


@pytest.mark.parametrize("further", [["dpo"], ["--json"]])
def test_a_page_of_one_method_is_refused(further: list[str], tmp_path: Path) -> None:
    assert "Leave out NAME and --json" in error_of("methods", "--page", tmp_path / "losses.md", *further)
    assert not (tmp_path / "losses.md").exists()


def test_a_page_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    assert "cannot be written" in error_of("methods", "--page", tmp_path / "missing" / "losses.md")


def test_papers_are_links_where_the_terminal_knows_how(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "FORCE_COLOR", "1")
    text = call("methods", "dpo").stdout
    assert "https://arxiv.org/abs/2305.18290" in text
