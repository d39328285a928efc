"""Fail on docstrings that begin with a question word: "True if x is y", not "Whether x is y"."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

_QUESTION = re.compile(r"(What|Whether|Where|How)\b")
_ROOT = Path(__file__).resolve().parents[1]


def faults(path: Path) -> Iterator[str]:
    """The docstrings of a file that begin with a question word, as lines for people."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node) or ""
            if _QUESTION.match(text):
                yield f"{path.relative_to(_ROOT)}:{node.body[0].lineno}: {text.splitlines()[0]}"


def main() -> int:
    """Check the folders that are named on the command line. Returns the exit status."""
    files = sorted(path for folder in sys.argv[1:] for path in (_ROOT / folder).rglob("*.py"))
    found = [fault for path in files for fault in faults(path)]
    print("\n".join(found) if found else f"No docstring of {len(files)} files begins with a question word.")
    if found:
        print(f"{len(found)} docstrings begin with a question word. Name the thing, then say what it does.")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
