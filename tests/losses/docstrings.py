"""Writes the texts of losses from their docstrings: `python -m tests.losses.docstrings`.

The program reads no docstring: it runs under `python -OO` too. The docstrings are the source, `texts.json` holds what
the program shows of them, and a test compares the two.
"""

import inspect
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from preftune.losses import ALL_LOSSES
from preftune.losses.texts import TEXTS_FILE, loss_texts
from preftune.report.losses_page import losses_page

__all__ = ["parse_docstring", "texts_of_losses"]

_SECTION = re.compile(r"(Args|Returns|Raises|Source|Differs):(.*)")
_FORMULA = re.compile(r"(\w+: )?[^\W\d][\w']*(\([^()]*\))? *= .*")
_USE = "Use it when"


def texts_of_losses() -> dict[str, Mapping[str, Any]]:
    """The texts of all losses of the table, by name."""
    return {name: parse_docstring(inspect.getdoc(loss.function) or "") for name, loss in ALL_LOSSES.items()}


def parse_docstring(docstring: str) -> dict[str, Any]:
    """The parts of a docstring in the house style, as `LossText` names them; a missing part is empty.

    >>> text = parse_docstring('''Half the log-prob.
    ...
    ... loss = -policy
    ...        / 2
    ...
    ... Use it when one
    ... is too much.
    ...
    ... Args:
    ...     a, b: Shape:
    ...         (pair,).
    ... Differs: no.
    ...
    ... >>> 1
    ... 1''')
    >>> text["formula"], text["use"], text["arguments"], text["differs"]
    ('loss = -policy\\n       / 2', 'Use it when one is too much.', {'a, b': 'Shape: (pair,).'}, 'no.')
    """
    text, prompt, example = docstring.partition(">>> ")
    sections = _sections(text)
    paragraphs = [part for part in re.split(r"\n\s*\n", "\n".join(sections[""]).strip()) if part]
    is_formula = [bool(_FORMULA.fullmatch(part.splitlines()[0])) for part in paragraphs]
    prose = [_one_line(part.splitlines()) for part, formula in zip(paragraphs, is_formula, strict=True) if not formula]
    return {
        "summary": prose[0] if prose else "",
        "formula": "\n\n".join(part for part, formula in zip(paragraphs, is_formula, strict=True) if formula),
        "use": " ".join(part for part in prose[1:] if part.startswith(_USE)),
        "notes": [part for part in prose[1:] if not part.startswith(_USE)],
        "arguments": _arguments(sections.get("Args", [])),
        **{name.lower(): _one_line(sections.get(name, [])) for name in ("Returns", "Source", "Differs")},
        "example": (prompt + example).strip(),
    }


def _sections(text: str) -> dict[str, list[str]]:
    """Lines by section; those outside of all sections are under the empty name."""
    sections: dict[str, list[str]] = {"": []}
    name = ""
    for line in text.splitlines():
        header = _SECTION.fullmatch(line)
        if header:
            name = header[1]
            sections[name] = [header[2]]
            continue
        if line and not line.startswith(" "):
            name = ""
        sections[name].append(line)
    return sections


def _arguments(lines: Iterable[str]) -> dict[str, str]:
    texts: dict[str, str] = {}
    name = ""
    for line in lines:
        if not line.strip():
            continue
        if line.startswith(" " * 5):
            texts[name] += " " + line.strip()
        else:
            name, _, text = line.strip().partition(": ")
            texts[name] = text
    return texts


def _one_line(lines: Iterable[str]) -> str:
    return " ".join(line.strip() for line in lines if line.strip())


if __name__ == "__main__":
    TEXTS_FILE.write_text(json.dumps(texts_of_losses(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    loss_texts.cache_clear()
    Path("docs/losses.md").write_text(losses_page(), encoding="utf-8")
