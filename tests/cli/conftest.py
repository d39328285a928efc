from pathlib import Path

import pytest
import torch

from preftune.report.panels import panels_of
from tests.runs.inputs import write_model, write_pairs


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    return write_model(tmp_path_factory.mktemp("model"), num_hidden_layers=1)


@pytest.fixture(scope="session")
def pairs_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("data") / "pairs.jsonl", count=6)


@pytest.fixture(autouse=True)
def _first_panel_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw one panel for each run. A dozen take longer than the run, and have their own tests in `tests/report`."""
    monkeypatch.setattr("preftune.report.pictures.panels_of", lambda logs: panels_of(logs)[:1])
