import json
from pathlib import Path

import pytest

from preftune.errors import ConfigError
from preftune.report.comparison import compare_runs
from tests.report.html_links import asks_for_nothing
from tests.report.run_folders import FINDING, LOGS, NASTY, evaluation, write_run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("runs")
    first, second = write_run(folder / "a"), write_run(folder / "b", beta=0.5)
    better = evaluation()
    assert better.samples is not None
    (second / "health.json").write_text(json.dumps({"findings": [FINDING], "rules": ["margin"], "not_applied": {}}))
    lines = [{**log, "eval_rewards/accuracies": 0.75} if log["step"] == 4 else log for log in LOGS]
    (second / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return first, second


@pytest.fixture(scope="module")
def page(runs: tuple[Path, Path]) -> str:
    return compare_runs(runs)


def row(page: str, head: str) -> str:
    return page.partition(f'<th scope="row">{head}</th>')[2].partition("</tr>")[0]


def test_it_asks_for_nothing_and_escapes(page: str) -> None:
    assert asks_for_nothing(page)
    assert NASTY not in page


def test_only_settings_that_differ_are_listed(page: str) -> None:
    section = page.partition('id="settings"')[2].partition("</section>")[0]
    assert row(section, "beta") == "<td>0.25</td><td>0.5</td>"
    assert section.count('<th scope="row">') == 1


def test_metrics_stand_side_by_side_and_the_best_is_set_off(page: str) -> None:
    cells = row(page, "preference accuracy; held out")
    assert cells == '<td>50.0 % → 68.8 %</td><td class="best">50.0 % → 75.0 %</td>'
    assert row(page, "loss, nats; held out") == "<td>0.6931 → 0.625</td><td>0.6931 → 0.625</td>"
    assert row(page, "health") == "<td>no finding</td><td>1 suspect</td>"


def test_differences_that_make_numbers_incomparable_are_reported(page: str, tmp_path: Path) -> None:
    assert "scale rewards differently" in page
    assert "hold out different data" not in page
    others = write_run(tmp_path / "a"), write_run(tmp_path / "b", seed=5)
    assert "hold out different data" in compare_runs(others)


def test_evaluations_have_their_intervals(page: str) -> None:
    assert row(page, "preference accuracy") == "<td>68.8 % [62.5 %, 75.0 %]</td>" * 2
    assert row(page, "KL to the reference, nats") == "<td>6.125 [6.062, 6.188]</td>" * 2


def test_each_metric_has_one_picture_with_a_colour_for_each_run(page: str) -> None:
    assert page.count('aria-label="Loss, nats"') == 1
    picture = page.partition('aria-label="Loss, nats"')[2].partition("</svg>")[0]
    assert "var(--blue)" in picture
    assert "var(--orange)" in picture


def test_texts_for_the_same_prompt_stand_side_by_side(page: str) -> None:
    section = page.partition('id="generations"')[2]
    assert section.count("It is after.") == 2
    assert "It is before." not in section


def test_runs_of_the_same_name_are_distinguished_by_their_folders(tmp_path: Path) -> None:
    page = compare_runs([write_run(tmp_path / "x" / "dpo"), write_run(tmp_path / "y" / "dpo")])
    assert "x/dpo" in page
    assert "y/dpo" in page
    assert "None: the settings are the same." in page


def test_runs_without_anything_have_a_page(tmp_path: Path) -> None:
    bare = ["summary.json", "health.json", "evaluation.json", "metrics.jsonl", "samples.jsonl"]
    page = compare_runs([write_run(tmp_path / "a", without=bare), write_run(tmp_path / "b", without=bare)])
    assert asks_for_nothing(page)
    assert "No run has been evaluated" in page
    assert "share no prompt" in page


def test_more_runs_than_colours_can_be_compared(tmp_path: Path) -> None:
    logs = LOGS[:2]
    page = compare_runs([write_run(tmp_path / f"run-{seed}", logs=logs, seed=seed) for seed in range(9)])
    assert "9 runs compared" in page


def test_a_run_that_is_named_twice_is_refused(runs: tuple[Path, Path]) -> None:
    with pytest.raises(ConfigError, match="is named twice"):
        compare_runs([runs[0], runs[1], runs[0].parent / "b" / ".." / "a"])
