import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from torch.testing import assert_close

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of two ranks: one subprocess forks all of them."""
    made = tmp_path_factory.mktemp("ranks")
    call = [sys.executable, "-m", "tests.runs.two_ranks", str(made)]
    ended = subprocess.run(call, cwd=ROOT, env={**os.environ}, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return made


def ends(folder: Path, name: str) -> tuple[list[int], list[str]]:
    """Exit statuses and texts of both ranks."""
    found: dict[str, Any] = json.loads((folder / "ends.json").read_text())[name]
    return found["codes"], found["texts"]


@pytest.mark.parametrize("name", ["sharded", "resumed"])
def test_two_ranks_end_with_the_same_model_however_they_are_sharded_stopped_or_delayed(folder: Path, name: str) -> None:
    codes, texts = ends(folder, name)
    assert codes == [0, 0], texts
    assert "Traceback" not in "".join(texts)
    expected, found = (folder / run / "run" for run in ("undisturbed", name))
    weights = [load_file(path / "model.safetensors") for path in (expected, found)]
    tolerance = 1e-5 if name == "sharded" else 0.0
    assert_close(weights[1], weights[0], rtol=tolerance, atol=tolerance)
    files = [{path.name for path in run.iterdir()} for run in (expected, found)]
    assert files[0] == files[1]
    assert not any(name.startswith(".") for name in files[1])


def test_a_signal_to_one_rank_stops_both_after_the_same_step(folder: Path) -> None:
    codes, texts = ends(folder, "stopped")
    assert codes == [130, 130], texts
    summary = json.loads((folder / "stopped" / "run" / "summary.json").read_text())
    assert summary["stopped_early"]
    assert (folder / "stopped" / "run" / f"checkpoint-{summary['num_steps']}" / "trainer_state.json").is_file()


def test_the_end_of_the_other_rank_is_one_message(folder: Path) -> None:
    codes, texts = ends(folder, "killed")
    assert codes == [1, -9]
    assert "Traceback" not in texts[0]
    assert texts[0].count("Error: another process of the run has ended or cannot be reached") == 1
    assert "--resume" in texts[0]


def test_an_error_of_the_main_process_ends_both_ranks_and_is_printed_once(folder: Path) -> None:
    codes, texts = ends(folder, "refused")
    assert codes == [2, 2], texts
    assert "already holds a run" in texts[0]
    assert "Error" not in texts[1]
