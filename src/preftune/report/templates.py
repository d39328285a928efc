"""The one place where pages are made: the environment of all templates, and what they can call."""

import re
from functools import cache
from typing import TYPE_CHECKING, Any

from preftune.files.number_text import bytes_text, percent_text, value_text
from preftune.report.colours import css_variables

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

__all__ = ["MARK", "render"]

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
        {"percent": percent_text, "value": value_text, "bytes": bytes_text, "marked": _marked, "colours": css_variables}
    )
    return environment


def _marked(text: str) -> "Markup":
    """Escaped text in which what stands in backticks is code.

    >>> _marked("`preftune clean` < all")
    Markup('<code>preftune clean</code> &lt; all')
    """
    from markupsafe import Markup, escape

    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))
