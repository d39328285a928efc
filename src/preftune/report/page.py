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

__all__ = ["MARK", "PageTable", "Row", "page_table", "render"]


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table.

    Args:
        cells: The first is its heading.
        begins_section: Whether a line divides it from the row above.
        best: Places of cells to set off, as the best of the row.
    """

    cells: tuple[str, ...]
    begins_section: bool = False
    best: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class PageTable:
    """A table.

    Args:
        title: Above it; empty for none.
        headings: Of the columns; the first column is that of the rows' headings.
        rows: With as many cells each.
        is_text: Whether the cells hold words rather than numbers, and stand left.
    """

    title: str
    headings: tuple[str, ...]
    rows: tuple[Row, ...]
    is_text: bool = False


def page_table(table: Table) -> PageTable:
    """A table of the console as one of a page. Brackets in its cells are text, whatever the console makes of them.

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
"""What every page holds, so that a page can be told from the file of somebody else."""


def render(template: str, **values: Any) -> str:
    """A page, made of one of the files in `templates/`.

    Args:
        template: Name of the file.
        values: What it shows. Texts are escaped, so that nothing in the data can act.
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
    """Escaped text in which what stands in backticks is code.

    >>> _marked("`preftune clean` < all")
    Markup('<code>preftune clean</code> &lt; all')
    """
    from markupsafe import Markup, escape

    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))
