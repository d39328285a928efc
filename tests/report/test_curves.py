import json
import math
from pathlib import Path

import pytest

from preftune.files.pictures import svg_file
from preftune.report import draw_curves
from preftune.report.curves import panel_figure
from preftune.report.panels import panels_of


def write_metrics(folder: Path) -> None:
    logs = [
        {"step": 0, "eval_loss": 0.69, "eval_rewards/accuracies": 0.5},
        {"step": 1, "loss": 0.69, "rewards/accuracies": 0.5, "rewards/margins": 0.0},
        {"step": 2, "loss": 0.65, "rewards/accuracies": 0.75, "rewards/margins": 0.1},
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(log) + "\n" for log in logs))


@pytest.mark.parametrize(("name", "start"), [("curves.png", b"\x89PNG"), ("curves.svg", b"<?xml")])
def test_the_ending_says_the_kind_of_picture(tmp_path: Path, name: str, start: bytes) -> None:
    write_metrics(tmp_path)
    draw_curves(tmp_path, tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(start)


def test_only_metrics_that_were_logged_have_a_panel(tmp_path: Path) -> None:
    write_metrics(tmp_path)
    draw_curves(tmp_path, tmp_path / "curves.svg")
    picture = (tmp_path / "curves.svg").read_text()
    assert ">Preference accuracy<" in picture
    assert "Log-prob" not in picture


def test_a_folder_without_metrics_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"metrics\.jsonl"):
        draw_curves(tmp_path, tmp_path / "curves.png")


@pytest.mark.parametrize("count", [1, 2, 81, 5000])
def test_a_run_of_any_length_has_a_picture_that_stays_small(count: int) -> None:
    logs = [{"step": step, "loss": math.nan if step % 7 == 3 else 1 / step} for step in range(1, count + 1)]
    assert len(svg_file(panel_figure(panels_of(logs)[0], logs))) < 60_000


def test_values_that_are_all_nan_have_an_empty_picture() -> None:
    logs = [{"step": step, "loss": math.nan} for step in range(600)]
    assert "Loss, nats" in svg_file(panel_figure(panels_of(logs)[0], logs))
