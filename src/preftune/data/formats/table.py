"""The formats of rows, and recognising a format by its columns."""

from collections.abc import Collection

from preftune.data.formats.comparisons import ALPACA_EVAL, COMPARISONS, SHP, SUMMARIES
from preftune.data.formats.demonstrations import DEMONSTRATIONS, REVIEWS, THUMBS
from preftune.data.formats.format import Format
from preftune.data.formats.lists import LISTS, NECTAR, STACK_EXCHANGE, ULTRAFEEDBACK
from preftune.data.formats.llama_factory import ALPACA, SHAREGPT
from preftune.data.formats.message_trees import MESSAGE_ROWS, MESSAGE_TREES
from preftune.data.formats.pairs import ORCA, PAIRS, TRANSCRIPTS
from preftune.errors import DataError

# The first that fits is taken, so the more specific comes first.
FORMATS: tuple[Format, ...] = (
    PAIRS,
    LISTS,
    THUMBS,
    COMPARISONS,
    ULTRAFEEDBACK,
    NECTAR,
    SUMMARIES,
    SHP,
    STACK_EXCHANGE,
    ORCA,
    ALPACA_EVAL,
    ALPACA,
    MESSAGE_TREES,
    MESSAGE_ROWS,
    SHAREGPT,
    TRANSCRIPTS,
    DEMONSTRATIONS,
    REVIEWS,
)


def recognise(columns: Collection[str], *, source: str = "rows") -> Format:
    """The format that has these columns; the most specific where several fit.

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
        + "\nMap your columns to these names, for example --columns chosen=better,rejected=worse. `preftune formats` "
        "describes each format."
    )


def find_format(name: str, columns: Collection[str], *, source: str = "rows") -> Format:
    """The format of a name, which must fit the columns.

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
