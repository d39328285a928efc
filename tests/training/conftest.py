"""Runs in the world of the health rules."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from preftune.runs.result import RunResult
from tests.training.health.world import run

Start = Callable[..., RunResult]


@pytest.fixture(scope="session")
def start(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Start:
    def started(*rows: Any, model: Path = model_folder, **settings: Any) -> RunResult:
        return run(model, tmp_path_factory.mktemp("sick"), *rows, **settings)

    return started
