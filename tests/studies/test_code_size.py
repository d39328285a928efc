from pathlib import Path

import pytest

from studies.code_size import code_size

TEXT = '''"""A module."""

import os

__all__ = ["length"]


@final
def length(path: str) -> int:
    """The length of a path.

    Longer than a line.
    """
    # a comment

    return len(
        os.fspath(path)
    )
'''


def test_lines_headers_docstrings_and_functions_are_counted(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(TEXT)
    (tmp_path / "__init__.py").write_text('"""A package."""\n')
    found = code_size(tmp_path)
    assert found.file_lines == (18,)
    assert found.header_lines == (7,)
    assert found.doc_lines == 5
    assert found.comment_lines == 1
    assert found.function_lines == (4,)  # the signature and the three lines of the return
    assert found.row("tree").startswith("| tree | 1 | 18 | 18 | 18 | 18 | 28% | 5.6% | 38.9% | 4 / 4 / 4 |")


def test_a_folder_without_code_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no Python files"):
        code_size(tmp_path)
