"""Prompts from a file."""

from collections.abc import Iterator
from pathlib import Path

from preftune.data.formats.chat_columns import prompt_of
from preftune.data.load import load_groups
from preftune.data.rows import BadRow, Row
from preftune.data.sources import read_rows
from preftune.errors import DataError
from preftune.groups import Prompt


def read_prompts(file: str) -> list[Prompt]:
    """The prompts in a file, in order.

    Args:
        file: A .txt file with one prompt per line (blank lines are skipped), or a data file whose rows have a `prompt`
            or a format that contains one, such as transcripts.
    """
    prompts = list(map(Prompt, _lines(file)) if Path(file).suffix.lower() == ".txt" else _fields(file))
    if not prompts:
        raise DataError(f"{file}: has no prompts. Write one per line, or name another file with --prompts.")
    return prompts


def _lines(file: str) -> Iterator[str]:
    try:
        text = Path(file).expanduser().read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: cannot be read. {error} Name another file with --prompts.") from None
    return (line for line in text.split("\n") if line.strip())  # other line breaks, such as U+2028, are part of a text


def _fields(file: str) -> Iterator[Prompt]:
    rows = list(map(_good, read_rows(file)))
    if not any("prompt" in row.fields for row in rows):
        return (Prompt(group.prompt, group.inputs) for group in load_groups(file).groups)
    return map(prompt_of, rows)


def _good(row: Row | BadRow) -> Row:
    if isinstance(row, BadRow):
        raise DataError(f"{row} Correct the row or leave it out.")
    return row
