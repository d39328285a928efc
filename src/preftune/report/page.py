"""HTML pages: the environment of all templates, and tables."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from preftune.files.number_text import bytes_text, number_text, percent_text
from preftune.files.pictures import css_variables

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table.

    Args:
        cells: The first is the heading of the row.
        begins_section: Draw a line above the row.
        best: Indices of cells to highlight as the best of the row.
    """

    cells: tuple[str, ...]
    begins_section: bool = False
    best: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class PageTable:
    """A table.

    Args:
        headings: Headings of the columns, that of the row headings included.
        is_text: Align cells to the left, as they hold words rather than numbers.
    """

    title: str
    headings: tuple[str, ...]
    rows: tuple[Row, ...]
    is_text: bool = False


def page_table(table: Table) -> PageTable:
    """Convert a table of the console. Brackets in its cells stay text instead of markup.

    >>> shown = Table("", "value", title="Samples")
    >>> shown.add_row("KL [nats]", "6.1", end_section=True); shown.add_row("length", "38")
    >>> [(row.cells, row.begins_section) for row in page_table(shown).rows]
    [(('KL [nats]', '6.1'), False), (('length', '38'), True)]
    """
    columns = [[_plain(cell) for cell in column.cells] for column in table.columns]
    ends = chain([False], (row.end_section for row in table.rows))
    rows = tuple(Row(cells, begins) for cells, begins in zip(_across(columns), ends, strict=False))
    headings = tuple(_plain(column.header) for column in table.columns)
    return PageTable(_plain(table.title or ""), headings, rows)


def _across(columns: Sequence[Sequence[str]]) -> Iterator[tuple[str, ...]]:
    yield from zip(*columns, strict=True)


def _plain(cell: object) -> str:
    return cell.plain if isinstance(cell, Text) else str(cell)


MARK = '<meta name="generator" content="preftune">'
"""Marker in every page, by which `preftune report` knows its own files."""


def render(template: str, **values: Any) -> str:
    """Render a page from a file in `templates/`.

    Args:
        template: Name of the file.
        values: Variables of the template. Texts are escaped, so nothing in the data can run as code.
    """
    return _environment().get_template(template).render(values)


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("preftune.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        {
            "percent": percent_text,
            "value": number_text,
            "bytes": bytes_text,
            "marked": _marked,
            "colours": css_variables,
        }
    )
    return environment


def _marked(text: str) -> "Markup":
    """Escaped text with code in place of backticks.

    >>> _marked("`preftune clean` < all")
    Markup('<code>preftune clean</code> &lt; all')
    """
    from markupsafe import Markup, escape

    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))
