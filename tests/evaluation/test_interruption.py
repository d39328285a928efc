"""What a kill in the middle of an evaluation loses: nothing that was paid for."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.judges.openai_server import TEMPLATE, OpenAIServer, running_server
from tests.runs.inputs import write_model, write_pairs

CONCURRENCY = 2


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    torch.manual_seed(0)
    write_model(folder / "base", num_hidden_layers=1)
    write_pairs(folder / "pairs.jsonl", count=15)
    (folder / "judge.jinja").write_text(TEMPLATE)
    return folder


def start(world: Path, server: OpenAIServer, cache: Path, result: Path) -> subprocess.Popen[str]:
    command = [
        *(sys.executable, "-m", "preftune", "eval", "--model", "base", "--data", "pairs.jsonl", "--json", str(result)),
        *("--judge", "openai:judge", "--judge-prompt", "judge.jinja", "--judge-concurrency", str(CONCURRENCY)),
        *("--samples", "2", "--max-new-tokens", "5", "--resamples", "50"),
    ]
    environment = {**os.environ, "OPENAI_BASE_URL": server.url, "PREFTUNE_CACHE": str(cache), "COLUMNS": "120"}
    return subprocess.Popen(
        command, cwd=world, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def table_of(process: subprocess.Popen[str]) -> str:
    """What the command prints, without the name of its file."""
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return output.rpartition("result:")[0]


@pytest.mark.slow
@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_evaluation_goes_on_and_gives_the_same_table(
    kill: signal.Signals, world: Path, tmp_path: Path
) -> None:
    with running_server() as server:
        expected = table_of(start(world, server, tmp_path / "other cache", tmp_path / "expected.json"))
    with running_server(seconds=0.05) as server:
        process = start(world, server, tmp_path / "cache", tmp_path / "result.json")
        while server.verdicts.total() < 15 and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(kill)
        process.communicate(timeout=60)
        assert process.returncode == (-9 if kill == signal.SIGKILL else 130)
        assert not (tmp_path / "result.json").exists()
        num_before = server.verdicts.total()
        assert 15 <= num_before < 60
        found = table_of(start(world, server, tmp_path / "cache", tmp_path / "result.json"))
        assert found == expected
        # Calls under way at a kill were answered to nobody; an interruption waits for them.
        asked_again = server.verdicts.total() - len(server.verdicts)
        assert asked_again <= (CONCURRENCY if kill == signal.SIGKILL else 0)
    assert (tmp_path / "result.json").read_text() == (tmp_path / "expected.json").read_text()
