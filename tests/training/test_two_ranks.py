import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]


def run(folder: Path, *launcher: str) -> tuple[dict[str, torch.Tensor], list[dict[str, float]]]:
    folder.mkdir()
    command = [sys.executable, *launcher, "-m", "tests.training.two_ranks", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, timeout=300)
    return torch.load(folder / "weights.pt"), json.loads((folder / "logs.json").read_text())


@pytest.mark.slow
def test_two_ranks_with_uneven_shares_learn_what_one_learns(tmp_path: Path) -> None:
    one, one_logs = run(tmp_path / "one")
    two, two_logs = run(tmp_path / "two", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, rtol=1e-10, atol=1e-12)
    assert len(one_logs) == len(two_logs) == 5
    for expected, found in zip(one_logs, two_logs, strict=True):
        assert found == pytest.approx(expected, rel=1e-5)
