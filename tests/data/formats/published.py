"""Small files of the published layouts, with texts of our own."""

from pathlib import Path
from typing import Any

from preftune.data.rows import Row
from preftune.data.sources import read_rows

__all__ = ["FILES", "first_row", "path_of"]

_FOLDER = Path(__file__).parents[1] / "published"

FILES = {
    "ultrafeedback.jsonl": "ultrafeedback",
    "nectar.jsonl": "nectar",
    "summaries.jsonl": "summaries",
    "shp.jsonl": "shp",
    "stack_exchange.jsonl": "stack_exchange",
    "orca.jsonl": "orca",
    "alpaca_eval.json": "alpaca_eval",
    "alpaca.json": "alpaca",
    "alpaca_pairs.json": "alpaca",
    "alpaca_output_pairs.json": "alpaca",
    "sharegpt.json": "sharegpt",
    "sharegpt_tools.json": "sharegpt",
    "message_rows.jsonl": "message_rows",
    "message_trees.jsonl": "message_trees",
    "reviews.jsonl": "reviews",
    "transcripts.jsonl": "transcripts",
    "comparisons.csv": "comparisons",
}
"""The format of each file."""


def path_of(file: str) -> str:
    """Where a file is."""
    return str(_FOLDER / file)


def first_row(file: str) -> dict[str, Any]:
    """The fields of the first row of a file."""
    row = next(iter(read_rows(path_of(file))))
    assert isinstance(row, Row)
    return dict(row.fields)
