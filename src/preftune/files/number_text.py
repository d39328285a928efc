"""Numbers and tables as text for people; numbers are short, without digits that mean nothing."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def percent_text(share: float | None) -> str:
    """A share in percent; empty if it is unknown.

    >>> percent_text(0.0712), percent_text(None)
    ('7.1 %', '')
    """
    return f"{100 * share:.1f} %" if share is not None and math.isfinite(share) else ""


def number_text(number: float | str | bool | None) -> str:
    """A number with four digits; text stays as it is.

    >>> number_text(12345), number_text(0.512345), number_text("sure"), number_text(math.nan), number_text(True)
    ('12,345', '0.5123', 'sure', 'NaN or infinite', 'yes')
    """
    if number is None or isinstance(number, str):
        return number or ""
    if isinstance(number, bool):
        return "yes" if number else "no"
    if isinstance(number, int):
        return f"{number:,}"
    if not math.isfinite(number):
        return "NaN or infinite"
    return f"{number:,.0f}" if abs(number) >= 10_000 else f"{number:,.4g}"


def bytes_text(num_bytes: float) -> str:
    """A size in memory or on disk.

    >>> bytes_text(100), bytes_text(3.25 * 2**20), bytes_text(21.4 * 2**30)
    ('100 B', '3.2 MiB', '21 GiB')
    """
    unit = 0
    while num_bytes >= 1024 and unit < len(_UNITS) - 1:
        num_bytes, unit = num_bytes / 1024, unit + 1
    return f"{num_bytes:.1f} {_UNITS[unit]}" if unit and num_bytes < 10 else f"{num_bytes:,.0f} {_UNITS[unit]}"


def duration_text(seconds: float) -> str:
    """A duration.

    >>> duration_text(75.4), duration_text(4000)
    ('1 min 15 s', '1 h 6 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def value_text(value: Any, separator: str = ", ") -> str:
    """A value for people.

    >>> value_text(None), value_text(True), value_text(["q", "v"]), value_text({"x": "y"}), value_text(1e-5)
    ('none', 'on', 'q, v', 'x=y', '1e-05')
    """
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    if isinstance(value, Mapping):
        return separator.join(f"{key}={value_text(item, separator)}" for key, item in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        return separator.join(value_text(item, separator) for item in value) or "none"
    return "none" if value is None else str(value)


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown. Vertical bars in cells are escaped.

    >>> print(markdown_table(["name", "share"], [["a|b", "7 %"]]))
    | name | share |
    |---|---|
    | a\\|b | 7 % |
    """
    lines = (f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows)
    return "\n".join([f"| {' | '.join(header)} |", "|" + "---|" * len(header), *lines])
