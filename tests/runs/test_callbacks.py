import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from preftune.runs.folder import RunFolder
from preftune.runs.result import RunResult
from preftune.runs.run import train
from preftune.settings import TrainConfig
from preftune.training.health.table import RULES
from tests.training.health.histories import found
from tests.training.health.world import friendly_pairs, run

EXPLODING = {"learning_rate": 3.0, "stop_on_sick": True}


def explode(model: Path, folder: Path, **settings: object) -> tuple[RunResult, str]:
    console = Console(file=io.StringIO(), width=500)
    result = run(
        model,
        folder,
        friendly_pairs(160, 1),
        friendly_pairs(64, 2),
        trained=lambda config: train(config, console=console),
        **{**EXPLODING, **settings},
    )
    assert isinstance(console.file, io.StringIO)
    return result, console.file.getvalue()


@pytest.fixture(scope="module")
def stopped(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunResult, str]:
    return explode(model_folder, tmp_path_factory.mktemp("stopped"))


def test_a_sick_run_ends_with_a_checkpoint_and_without_a_model(stopped: tuple[RunResult, str]) -> None:
    result, _ = stopped
    folder = Path(result.folder)
    assert result.stopped_sick
    assert not result.stopped_early
    assert result.num_steps < 40
    assert any(finding.severity == "sick" for finding in result.health)
    assert not (folder / "model.safetensors").exists()
    last = RunFolder(folder).last_checkpoint()
    assert last is not None
    assert last.name == f"checkpoint-{result.num_steps}"


def test_a_line_on_the_console_says_what_and_what_to_try(stopped: tuple[RunResult, str]) -> None:
    _, text = stopped
    line = next(line for line in text.splitlines() if line.startswith("health: sick"))
    assert "the training loss rises: the mean loss of the last 8 steps is" in line
    assert "Lower --learning-rate" in line


def test_files_and_table_hold_all_that_was_found(stopped: tuple[RunResult, str]) -> None:
    result, _ = stopped
    folder = Path(result.folder)
    kept = json.loads((folder / "health.json").read_text())
    assert [finding["rule"] for finding in kept["findings"]] == [finding.rule for finding in result.health]
    assert {*kept["rules"], *kept["not_applied"]} == RULES.keys()
    summary = json.loads((folder / "summary.json").read_text())
    assert [finding["rule"] for finding in summary["health"]] == [finding.rule for finding in result.health]
    assert summary["stopped_sick"]
    cells = [str(cell) for column in result.table().columns for cell in column.cells]
    assert "health: the training loss rises" in cells
    assert str(result.table().title).endswith("(stopped: sick)")


def test_what_is_only_suspect_stops_nothing(model_folder: Path, tmp_path: Path) -> None:
    result = run(model_folder, tmp_path, friendly_pairs(160, 1), learning_rate=1e-8, stop_on_sick=True)
    assert [finding.rule for finding in result.health] == ["flat"]
    assert not result.stopped_sick
    assert (tmp_path / "run" / "model.safetensors").is_file()


def test_a_run_resumed_against_the_rule_knows_of_it_and_goes_to_its_end(model_folder: Path, tmp_path: Path) -> None:
    stopped, _ = explode(model_folder, tmp_path)
    config = TrainConfig.read(tmp_path / "run" / "config.yaml", resume=True, stop_on_sick=False)
    console = Console(file=io.StringIO(), width=500)
    resumed = train(config, console=console)
    assert resumed.num_steps == 40
    before, after = found(stopped, "divergence"), found(resumed, "divergence")
    assert before is not None
    assert after is not None
    assert after.step == before.step


def test_a_run_that_is_well_says_so(model_folder: Path, tmp_path: Path) -> None:
    result = run(model_folder, tmp_path, friendly_pairs(12, 1))
    assert json.loads((tmp_path / "run" / "health.json").read_text())["findings"] == []
    assert "no finding" in [str(cell) for column in result.table().columns for cell in column.cells]
