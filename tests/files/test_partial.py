"""Hidden places of files that are being written, and those that killed processes leave behind."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from preftune.files.json_files import write_whole
from preftune.files.outputs import saving
from preftune.files.partial import is_partial, partial_path

NAMES = ["prefs.jsonl", "x" * 250, "a[bold].jsonl", "a\n\x1b[31m.jsonl", "dots...", "\u00e9" * 120]


def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.parametrize("name", NAMES)
def test_places_of_dead_processes_are_removed_by_the_next_write(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    mine = partial_path(path)
    left = mine.with_name(mine.name.replace(f".{os.getpid()}.", f".{dead_pid()}."))
    left.write_text("half")
    with saving(path) as [file]:
        file.write("whole")
    assert [item.name for item in tmp_path.iterdir()] == [name]
    left.mkdir()
    write_whole(path, "again")
    assert [item.name for item in tmp_path.iterdir()] == [name]


def test_places_of_live_processes_other_hosts_and_other_files_stay(tmp_path: Path) -> None:
    path = tmp_path / "prefs.jsonl"
    mine = partial_path(path).name
    host = mine.split(".")[-3]
    stay = [
        mine.replace(f".{os.getpid()}.", f".{os.getppid()}."),
        mine.replace(f".{host}.", ".elsewhere.").replace(f".{os.getpid()}.", f".{dead_pid()}."),
        mine.replace("prefs", "others").replace(f".{os.getpid()}.", f".{dead_pid()}."),
    ]
    for name in stay:
        assert is_partial(name)
        (tmp_path / name).touch()
    write_whole(path, "whole")
    assert {item.name for item in tmp_path.iterdir()} == {"prefs.jsonl", *stay}
