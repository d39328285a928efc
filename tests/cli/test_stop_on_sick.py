from pathlib import Path

from preftune.runs.run_folder import RunFolder
from tests.cli.command_line import call, tune
from tests.training.health.world import friendly_pairs, write_rows


def test_a_sick_run_exits_with_3_and_says_how_to_go_on(model_folder: Path, tmp_path: Path) -> None:
    rows = Path(write_rows(tmp_path / "rows.jsonl", friendly_pairs(120, 1)))
    folder = tmp_path / "run"
    result = call(*tune(model_folder, rows, folder, "--learning-rate", "10", "--batch-size", "4", "--stop-on-sick"))
    assert result.exit_code == 3, result.output
    assert "health: sick at step" in result.stdout
    assert f"preftune train --config {folder / 'config.yaml'} --resume --no-stop-on-sick" in result.stdout
    assert RunFolder(folder).last_checkpoint() is not None
    assert not (folder / "model.safetensors").exists()


def test_without_the_flag_it_goes_to_its_end(model_folder: Path, tmp_path: Path) -> None:
    rows = Path(write_rows(tmp_path / "rows.jsonl", friendly_pairs(120, 1)))
    result = call(*tune(model_folder, rows, tmp_path / "run", "--learning-rate", "10", "--batch-size", "4"))
    assert result.exit_code == 0, result.output
    assert "health: sick at step" in result.stdout
    assert (tmp_path / "run" / "model.safetensors").is_file()
