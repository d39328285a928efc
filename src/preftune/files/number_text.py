"""Numbers for people: short, and with no more digits than mean something."""

import math

__all__ = ["bytes_text", "percent_text", "value_text"]


def percent_text(share: float | None) -> str:
    """A share; nothing where it is not known.

    >>> percent_text(0.0712), percent_text(None)
    ('7.1 %', '')
    """
    return f"{100 * share:.1f} %" if share is not None and math.isfinite(share) else ""


def value_text(number: float | str | bool | None) -> str:
    """A measure; text stays as it is.

    >>> value_text(12345), value_text(0.512345), value_text("sure"), value_text(math.nan), value_text(True)
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


def bytes_text(count: int) -> str:
    """The size of a file.

    >>> bytes_text(512), bytes_text(4_006_352), bytes_text(16 * 2**30)
    ('512 B', '3.8 MiB', '16.0 GiB')
    """
    size, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
