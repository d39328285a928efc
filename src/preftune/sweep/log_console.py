"""A console for what runs say: into a file, with warnings shown as well."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from typing_extensions import override

__all__ = ["logging_console"]

_FOLDER = "logs"
_WIDTH = 200


@contextmanager
def logging_console(sweep: Path, name: str, shown: Console) -> Iterator[Console]:
    """A console that appends to `logs/NAME.log`.

    Args:
        sweep: Folder of the sweep.
        name: Of the run.
        shown: Gets lines in yellow, which are warnings, with the name before them.
    """
    folder = sweep / _FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.log").open("a", encoding="utf-8") as file:
        yield _LogConsole(file, shown, name)


class _LogConsole(Console):
    def __init__(self, file: TextIO, shown: Console, name: str) -> None:
        super().__init__(file=file, width=_WIDTH)
        self._shown, self._name = shown, name

    @override
    def print(self, *objects: Any, style: Any = None, **settings: Any) -> None:
        super().print(*objects, style=style, **settings)
        self.file.flush()
        if "yellow" in str(style):
            self._shown.print(f"{self._name}:", *objects, style=style, markup=False, highlight=False, soft_wrap=True)
