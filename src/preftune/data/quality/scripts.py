"""Which script a text is written in."""

import re
from collections.abc import Mapping

__all__ = ["SCRIPTS", "letters_by_script", "main_script"]

SCRIPTS: Mapping[str, str] = {
    "Latin": "A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u1e00-\u1eff",
    "Greek": "\u0370-\u03ff\u1f00-\u1fff",
    "Cyrillic": "\u0400-\u052f",
    "Armenian": "\u0531-\u058f",
    "Hebrew": "\u0590-\u05ff",
    "Arabic": "\u0600-\u06ff\u0750-\u077f\ufb50-\ufdff\ufe70-\ufefc",
    "Indic": "\u0900-\u0dff",
    "Thai or Lao": "\u0e00-\u0eff",
    "Georgian": "\u10a0-\u10ff",
    "Hangul": "\u1100-\u11ff\uac00-\ud7af",
    "Ethiopic": "\u1200-\u139f",
    "Chinese or Japanese": "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff",
}
"""Ranges of letters. Scripts that one text mixes, or that a reader of one mostly reads too, are one."""

_PATTERNS = {name: re.compile(f"[{letters}]") for name, letters in SCRIPTS.items()}
_ASCII = re.compile("[\x00-\x7f]+")
_FEWEST_LETTERS = 10


def letters_by_script(text: str) -> dict[str, int]:
    """How many letters of each script a text has; scripts without one are left out.

    >>> letters_by_script("Да, yes!")
    {'Latin': 3, 'Cyrillic': 2}
    """
    rest = "" if text.isascii() else _ASCII.sub("", text)
    counts = {"Latin": len(_PATTERNS["Latin"].findall(text))}
    if rest and any(map(str.isalpha, rest)):
        counts |= {name: len(pattern.findall(rest)) for name, pattern in _PATTERNS.items() if name != "Latin"}
    return {name: count for name, count in counts.items() if count}


def main_script(text: str) -> str | None:
    """The script of more than half of the letters; None where there is none, or fewer than ten letters.

    >>> main_script("Ничего не понимаю (IMHO)")
    'Cyrillic'
    """
    if text.isascii():  # most texts; the letters need not be counted further than to ten
        return "Latin" if len(text) >= _FEWEST_LETTERS and _has_ten_letters(text) else None
    counts = letters_by_script(text)
    total = sum(counts.values())
    script = max(counts, key=lambda name: counts[name], default=None)
    return script if script and total >= _FEWEST_LETTERS and 2 * counts[script] > total else None


_TEN_LETTERS = re.compile(r"(?:[^A-Za-z]*[A-Za-z]){10}")


def _has_ten_letters(text: str) -> bool:
    return _TEN_LETTERS.match(text) is not None
