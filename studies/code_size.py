"""Size of the code: files, lines, headers and functions of a source tree.

    python -m studies.code_size src/preftune [another/tree ...]

A header is everything above the first definition: module docstring, imports, `__all__`. Function lengths are lines of
code: without blank lines, comments and the docstring.
"""

import argparse
import ast
import io
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

__all__ = ["CodeSize", "code_size", "main"]

Function = ast.FunctionDef | ast.AsyncFunctionDef
_SKIPPED = frozenset(
    {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
)


@dataclass(frozen=True, slots=True)
class CodeSize:
    """Counts of one source tree.

    Args:
        file_lines, header_lines: Lines of each file, and those of its header.
        doc_lines, comment_lines: Docstring lines and whole-line comments, summed over the tree.
        function_lines: Lines of code of each function.
    """

    file_lines: tuple[int, ...]
    header_lines: tuple[int, ...]
    doc_lines: int
    comment_lines: int
    function_lines: tuple[int, ...]

    def row(self, name: str) -> str:
        """One row of a Markdown table."""
        lines, headers, functions = sum(self.file_lines), sum(self.header_lines), self.function_lines
        cells = [
            name,
            f"{len(self.file_lines):,}",
            f"{lines:,}",
            f"{median(self.file_lines):.0f}",
            f"{_p90(self.file_lines):.0f}",
            f"{max(self.file_lines)}",
            f"{self.doc_lines / lines:.0%}",
            f"{self.comment_lines / lines:.1%}",
            f"{headers / lines:.1%}",
            f"{median(functions):.0f} / {_p90(functions):.0f} / {max(functions)}",
        ]
        return f"| {' | '.join(cells)} |"


COLUMNS = (
    "tree",
    "files",
    "lines",
    "median file",
    "p90",
    "longest",
    "doc",
    "comment",
    "header",
    "functions: median / p90 / longest",
)


def code_size(tree: Path) -> CodeSize:
    """Count the Python files below `tree`.

    Raises:
        FileNotFoundError: no Python file is there.
    """
    texts = [path.read_text(encoding="utf-8") for path in sorted(tree.rglob("*.py"))]
    # Packages' markers of one line say nothing about how the code is cut.
    texts = [text for text in texts if len(text.splitlines()) > 1]
    if not texts:
        raise FileNotFoundError(f"{tree}: holds no Python files. Name the folder of a package.")
    parsed = [ast.parse(text) for text in texts]
    return CodeSize(
        file_lines=tuple(len(text.splitlines()) for text in texts),
        header_lines=tuple(map(_header_lines, texts, parsed)),
        doc_lines=sum(len(_lines_of(node)) for module in parsed for node in _docstrings(module)),
        comment_lines=sum(line.lstrip().startswith("#") for text in texts for line in text.splitlines()),
        function_lines=tuple(
            lines for text, module in zip(texts, parsed, strict=True) for lines in _function_lines(text, module)
        ),
    )


def _p90(values: tuple[int, ...]) -> float:
    return quantiles(values, n=10)[-1] if len(values) > 1 else float(values[0])


def _lines_of(node: ast.stmt) -> range:
    return range(node.lineno, (node.end_lineno or node.lineno) + 1)


def _header_lines(text: str, module: ast.Module) -> int:
    """Lines above the first statement that is neither docstring, import nor `__all__`, blank ones included."""
    body = module.body[int(ast.get_docstring(module) is not None) :]
    first = next((node for node in body if not _is_header(node)), None)
    if first is None:
        return len(text.splitlines())
    decorators = first.decorator_list if isinstance(first, ast.ClassDef | Function) else []
    return min([first.lineno, *(node.lineno for node in decorators)]) - 1


def _is_header(node: ast.stmt) -> bool:
    if isinstance(node, ast.If):
        return ast.unparse(node.test) == "TYPE_CHECKING"
    if isinstance(node, ast.Assign):
        return any(isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets)
    return isinstance(node, ast.Import | ast.ImportFrom)


def _docstrings(module: ast.Module) -> Iterator[ast.stmt]:
    for node in ast.walk(module):
        if isinstance(node, ast.Module | ast.ClassDef | Function) and ast.get_docstring(node) is not None:
            yield node.body[0]


def _function_lines(text: str, module: ast.Module) -> Iterator[int]:
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    code = {line for token in tokens if token.type not in _SKIPPED for line in range(token.start[0], token.end[0] + 1)}
    for node in ast.walk(module):
        if isinstance(node, Function):
            doc = node.body[0] if ast.get_docstring(node) is not None else None
            yield len((set(_lines_of(node)) - set(_lines_of(doc) if doc else ())) & code)


def main() -> None:
    parser = argparse.ArgumentParser(description="Count files, lines, headers and functions of source trees.")
    parser.add_argument("trees", nargs="+", type=Path, metavar="FOLDER")
    print(f"| {' | '.join(COLUMNS)} |")
    print("|" + "---|" * len(COLUMNS))
    for tree in parser.parse_args().trees:
        print(code_size(tree).row(str(tree)))


if __name__ == "__main__":
    main()
