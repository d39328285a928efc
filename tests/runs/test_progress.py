import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from preftune.runs.run import train
from tests.runs.inputs import config_of


def shown(model: Path, pairs: Path, folder: Path, *, on_terminal: bool, **settings: object) -> str:
    """What a run writes, without control sequences."""
    file = io.StringIO()
    console = Console(file=file, force_terminal=on_terminal, width=300, _environ={"TERM": "xterm"})
    train(config_of(model, pairs, folder, eval_data=str(pairs), eval_samples=2, **settings), console=console)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", file.getvalue())


@pytest.fixture(scope="module")
def on_terminal(model_folder: Path, pairs_file: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return shown(model_folder, pairs_file, tmp_path_factory.mktemp("run"), on_terminal=True)


@pytest.mark.parametrize(
    "phase",
    [
        "loading the tokenizer",
        "checking the data",
        "loading the model",
        "testing packed rows",
        "training",
        "evaluating",
        "drawing 2 samples (--eval-samples 0 to skip)",
        "saving a checkpoint",
        "saving the model",
    ],
)
def test_a_terminal_shows_each_phase_of_a_run(on_terminal: str, phase: str) -> None:
    assert re.search(rf"{re.escape(phase)} .*0:0\d:\d\d elapsed", on_terminal)


def test_the_times_of_the_bar_say_which_is_which(on_terminal: str) -> None:
    assert re.search(r"training .* \d+/\d+ +steps, 0:0\d:\d\d elapsed , \S+ left", on_terminal)


def test_a_file_holds_lines_and_no_bars(model_folder: Path, pairs_file: Path, tmp_path: Path) -> None:
    text = shown(model_folder, pairs_file, tmp_path / "run", on_terminal=False, max_steps=1)
    assert "elapsed" not in text
    assert "samples: 2 of at most 64 tokens before the first step" in text
    assert text.startswith("device: cpu, 1 thread")
