"""What is kept of reference log-probs, seen and cleared from the command line."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from preftune.cli.main import preftune
from preftune.model.reference.fingerprint import Fingerprint
from preftune.model.reference.store import LogpStore, store_path
from tests.cli.command_line import call, tune


@pytest.fixture
def path() -> Path:
    """A file with two log-probs, one of them per token too, and one that was set aside."""
    path = store_path()
    store = LogpStore(path)
    model = Fingerprint(b"m" * 16, "llama", "float32 weights, cpu, packed")
    store.write(model, {b"a": -1.0, b"b": -2.0})
    store.write_tokens(model, {b"a": np.array([-0.25, -0.75])})
    store.close()
    path.with_name(path.name + ".broken-20260101").write_text("")
    return path


def test_info_shows_path_size_entries_and_models(path: Path) -> None:
    text = call("cache", "info").stdout
    assert f"{path}: 24 KiB; log-probs: 2; models: 1; completions with log-probs per token: 1" in text
    assert "llama" in text
    assert "float32 weights, cpu, packed" in text


def test_info_of_nothing_makes_no_file() -> None:
    assert "does not exist; nothing is stored" in call("cache", "info").stdout
    assert not store_path().parent.exists()


def test_info_on_a_broken_file_says_so(path: Path) -> None:
    path.write_bytes(b"no database" * 100)
    result = call("cache", "info")
    assert result.exit_code == 1
    assert "is damaged" in result.stderr
    assert "`preftune cache clear` deletes it" in result.stderr


def test_clear_asks_first(path: Path) -> None:
    result = CliRunner().invoke(preftune, ["cache", "clear"], input="n\n")
    assert result.exit_code == 1
    assert path.exists()
    assert CliRunner().invoke(preftune, ["cache", "clear"], input="y\n").exit_code == 0
    assert list(path.parent.iterdir()) == []


def test_clear_deletes_only_its_own_files_and_skips_the_question_on_request(path: Path) -> None:
    (path.parent / "thesis.txt").write_text("years of work")
    result = call("cache", "clear", "--yes")
    assert result.exit_code == 0
    assert "deleted" in result.stdout
    assert [left.name for left in path.parent.iterdir()] == ["thesis.txt"]
    assert "nothing is stored" in call("cache", "clear", "--yes").stdout


def test_a_run_fills_the_cache_unless_disabled(model_folder: Path, pairs_file: Path, tmp_path: Path) -> None:
    assert call(*tune(model_folder, pairs_file, tmp_path / "a", "--no-reference-cache")).exit_code == 0
    assert not store_path().exists()
    assert call(*tune(model_folder, pairs_file, tmp_path / "b")).exit_code == 0
    assert "log-probs: 12; models: 1" in call("cache", "info").stdout
