"""Style of pictures: colours, matplotlib settings, and figures as SVG elements of a page."""

import io
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True)
class Colour:
    """A colour in pages and pictures.

    Args:
        light, dark: Values on a white and on a dark background.
    """

    light: str
    dark: str


COLOURS: Mapping[str, Colour] = {
    "text": Colour("#1d2329", "#dfe4e8"),
    "dim": Colour("#5b6670", "#9aa5ae"),
    "line": Colour("#d9dee3", "#39424a"),
    "blue": Colour("#1b6ca8", "#62b0e8"),
    "red": Colour("#c8433f", "#f0807c"),
    "green": Colour("#2a7d58", "#5cc294"),
    "orange": Colour("#c26a00", "#f0a33c"),
    "purple": Colour("#7a4fa3", "#bf98e6"),
    "sky": Colour("#3f9bb8", "#7fd0e8"),
    "pink": Colour("#b8528c", "#ee96c8"),
    "brown": Colour("#7a6a28", "#cdb864"),
}
"""Colours by the name of their CSS variable. Light values are unique: SVG elements replace them by the variable."""

RUN_COLOURS = ("blue", "orange", "green", "purple", "red", "sky", "pink", "brown")
"""Colours of the runs of a comparison, in order; they differ in lightness as well as in hue."""


def css_variables(shade: str) -> str:
    """The colours as CSS variables.

    >>> css_variables("dark").split("; ")[0]
    '--text: #dfe4e8'
    """
    return "; ".join(
        f"--{name}: {colour.dark if shade == 'dark' else colour.light}" for name, colour in COLOURS.items()
    )


_INCHES = (4.0, 2.75)
_STYLE: dict[Any, Any] = {
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": COLOURS["dim"].light,
    "axes.labelcolor": COLOURS["dim"].light,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "text.color": COLOURS["text"].light,
    "xtick.color": COLOURS["dim"].light,
    "ytick.color": COLOURS["dim"].light,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "grid.color": COLOURS["line"].light,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "svg.fonttype": "none",
    "svg.hashsalt": "preftune",
}


@contextmanager
def picture_style(**changes: Any) -> Iterator[None]:
    """Context in which pictures are drawn and written in the style of our pages.

    Args:
        changes: Settings of matplotlib to change, with underscores for dots (`svg_fonttype`).
    """
    with mpl.rc_context(_STYLE | {name.replace("_", "."): value for name, value in changes.items()}):
        yield


def new_figure(inches: tuple[float, float] = _INCHES) -> Figure:
    """A figure; by default of the size in pages, where its text is as large as the page's small print."""
    return Figure(figsize=inches, layout="constrained")


def save_picture(figure: Figure, file: str | Path) -> None:
    """Write a figure into a PNG, SVG or PDF file of its own, with text as shapes, so that any viewer shows it alike.

    Args:
        file: Path of the picture; the extension selects the format.
    """
    with picture_style(svg_fonttype="path"):
        metadata = {"Date": None} if str(file).endswith(".svg") else None
        figure.savefig(file, dpi=160, metadata=metadata)


def svg_file(figure: Figure) -> str:
    """The figure as an SVG file; equal figures give equal text."""
    buffer = io.StringIO()
    with picture_style():
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def svg_element(document: str, label: str) -> str:
    """Convert an SVG file to a self-contained element of a page.

    Removes prolog, metadata, fixed size, white background and unused ids, which would repeat for every picture, and
    uses the page's own colours, dark or light.

    Args:
        label: Description for screen readers.
    """
    svg = document[document.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(r'(<path d="[^"]*"\s+style="fill: )#ffffff', r"\1none", svg)
    for name, colour in COLOURS.items():
        svg = svg.replace(colour.light, f"var(--{name})")
    svg = re.sub(r"font: (\S+) [^;\"]*", r"font-size: \1", svg)
    return svg.replace("<svg", f'<svg role="img" aria-label="{escape(label)}"', 1)
