"""Colours of pictures and pages: told apart by those who see colours differently, and in a dark room."""

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["COLOURS", "RUN_COLOURS", "Colour", "css_variables"]


@dataclass(frozen=True, slots=True)
class Colour:
    """A colour with its name on pages.

    Args:
        light, dark: On white and on a dark ground.
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
"""By the name of their CSS variable. No two have the same light value, which stands for the name in pictures."""

RUN_COLOURS = ("blue", "orange", "green", "purple", "red", "sky", "pink", "brown")
"""Of the runs of a comparison, in order; they differ in lightness as well as in hue."""


def css_variables(shade: str) -> str:
    """The colours as CSS variables.

    Args:
        shade: `light` or `dark`.

    >>> css_variables("dark").split("; ")[0]
    '--text: #dfe4e8'
    """
    return "; ".join(
        f"--{name}: {colour.dark if shade == 'dark' else colour.light}" for name, colour in COLOURS.items()
    )
