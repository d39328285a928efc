"""The rows that `preftune check` and `preftune clean` read."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from preftune.data.load import iter_groups
from preftune.data.progress import track
from preftune.data.rows import DataRow
from preftune.data.text_files import data_suffix, open_bytes

__all__ = ["RowSource"]

_BY_LINE = (".jsonl", ".ndjson", ".csv", ".tsv")
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class RowSource:
    """Rows that can be read several times.

    Args:
        sources: Files, folders or data sets of the hub.
        split, format, columns, where: As in `iter_groups`.
    """

    sources: Sequence[str]
    split: str | None = None
    format: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    where: Sequence[str] = ()

    def read(self, description: str = "") -> Iterator[DataRow]:
        """Groups, and between them the rows that gave none.

        Args:
            description: What is being done, for the progress bar on a terminal; none if empty.
        """
        stream = iter_groups(
            self.sources, split=self.split, format=self.format, columns=self.columns or None, where=self.where
        )
        shows = bool(description) and Console(stderr=True).is_terminal
        yield from track(stream, description, total=self._num_lines() if shows else None, show=shows)

    def _num_lines(self) -> int | None:
        """Lines of the sources, where all are text files with a row per line; about as many as rows."""
        paths = [Path(source).expanduser() for source in self.sources]
        if not all(path.is_file() and data_suffix(path) in _BY_LINE for path in paths):
            return None
        try:
            return sum(map(_count_lines, paths))
        except Exception:  # whatever is wrong with the file, reading it will tell better
            return None


def _count_lines(path: Path) -> int:
    with open_bytes(path) as stream:
        return sum(block.count(b"\n") for block in iter(lambda: stream.read(_BLOCK_BYTES), b""))
