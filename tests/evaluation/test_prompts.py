"""Prompts from a file."""

from pathlib import Path

import pytest

from preftune.errors import DataError
from preftune.evaluation.prompts import read_prompts
from preftune.groups import Prompt


def write(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return str(path)


def test_each_line_of_a_text_file_is_a_prompt(tmp_path: Path) -> None:
    assert read_prompts(write(tmp_path / "a.txt", b"2+2=\r\n\n  \n1+1=\n")) == [Prompt("2+2="), Prompt("1+1=")]


@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c"])
def test_other_line_breaks_are_part_of_a_prompt_and_a_byte_order_mark_is_not(tmp_path: Path, mark: str) -> None:
    found = read_prompts(write(tmp_path / "a.txt", f"\ufeffone{mark}two\nthree".encode()))
    assert found == [Prompt(f"one{mark}two"), Prompt("three")]


def test_a_file_without_prompts_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no prompts"):
        read_prompts(write(tmp_path / "a.txt", b" \n"))
