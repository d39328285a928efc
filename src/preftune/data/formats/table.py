"""The formats that rows can have, and which one a set of columns is."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from preftune.data.formats.demonstrations import read_demonstration
from preftune.data.formats.pairs import read_pair
from preftune.data.formats.transcripts import read_transcripts
from preftune.data.rows import Row
from preftune.errors import DataError
from preftune.groups import PromptGroup

__all__ = ["FORMATS", "Format", "find_format", "recognise"]


@dataclass(frozen=True, slots=True)
class Format:
    """A row layout.

    Args:
        name: What users call it.
        required: Columns it needs. More than one set where either will do.
        optional: Further columns that it reads.
        read: Turns a row into a group; raises DataError.
    """

    name: str
    required: tuple[tuple[str, ...], ...]
    optional: tuple[str, ...]
    read: Callable[[Row], PromptGroup]

    @property
    def columns(self) -> frozenset[str]:
        """All columns that the format reads."""
        return frozenset(self.optional).union(*self.required)

    def fits(self, columns: Collection[str]) -> bool:
        """Whether the columns it needs are there."""
        return any(set(names) <= set(columns) for names in self.required)

    def __str__(self) -> str:
        return f"{self.name} needs {'; or '.join(', '.join(names) for names in self.required)}"


_SCORES = ("margin", "score_chosen", "score_rejected", "chosen_score", "rejected_score")

# The first that fits is taken, so the more specific stands first.
FORMATS: tuple[Format, ...] = (
    Format("pairs", (("prompt", "chosen", "rejected"),), _SCORES, read_pair),
    Format("transcripts", (("chosen", "rejected"),), _SCORES, read_transcripts),
    Format("demonstrations", (("prompt", "completion"), ("messages",)), (), read_demonstration),
)


def recognise(columns: Collection[str], *, source: str = "rows") -> Format:
    """The format that has these columns; the most specific where several fit.

    Args:
        columns: Names of the columns.
        source: Where they are from, for the error.
    Raises:
        DataError: no format fits.

    >>> recognise(["chosen", "rejected", "id"]).name
    'transcripts'
    """
    for candidate in FORMATS:
        if candidate.fits(columns):
            return candidate
    raise DataError(
        f"{source}: no format has these columns: {_listed(columns)}. The formats are:\n"
        + "\n".join(f"  - {candidate}" for candidate in FORMATS)
        + "\nMap your columns to these names, for example --columns chosen=better,rejected=worse."
    )


def find_format(name: str, columns: Collection[str], *, source: str = "rows") -> Format:
    """The format of a name, which must fit the columns.

    Args:
        name: One of the names in `FORMATS`.
        columns: Names of the columns.
        source: Where they are from, for the error.
    Raises:
        DataError: there is no such format, or a column that it needs is not there.
    """
    found = next((candidate for candidate in FORMATS if candidate.name == name), None)
    if found is None:
        known = ", ".join(candidate.name for candidate in FORMATS)
        raise DataError(f"there is no format '{name}'. The formats are: {known}. Name one of them with --format.")
    if not found.fits(columns):
        raise DataError(
            f"{source}: the format {found}. The columns are: {_listed(columns)}. "
            "Map your columns to these names, for example --columns chosen=better,rejected=worse."
        )
    return found


def _listed(columns: Collection[str]) -> str:
    return ", ".join(columns) if columns else "none"
