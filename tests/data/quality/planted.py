"""A data set with known faults, and what a plain recount of its rows says."""

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["PLANTED", "Planted", "clean_rows", "planted_rows", "write_rows"]

Row = dict[str, Any]

_SYLLABLES = ("ba", "de", "fi", "go", "lu", "ma", "ne", "po", "ri", "sa", "to", "vu", "ka", "mi", "zo", "ce")


@dataclass(frozen=True)
class Planted:
    """How many of each fault are planted."""

    clean: int = 300
    shorter: int = 30
    duplicates: int = 7
    near_duplicates: int = 6
    contradictions: int = 3
    ties: int = 5
    inverted: int = 2
    small: int = 8
    identical: int = 3
    nearly_identical: int = 2
    refusals: int = 4
    rejected_refusals: int = 9
    template_tokens: int = 2
    empty: int = 2
    signs: int = 3
    truncated: int = 12
    cyrillic: int = 4
    control: int = 5
    broken: int = 1


PLANTED = Planted()


class _Words:
    """Random words of made-up syllables, so that no two texts are alike by chance."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)

    def text(self, count: int) -> str:
        return " ".join("".join(self._rng.choices(_SYLLABLES, k=3)) for _ in range(count))

    def row(self, *, is_longer: bool = True) -> Row:
        long, short = self.text(self._rng.randint(32, 60)) + ".", self.text(self._rng.randint(22, 30)) + "."
        chosen, rejected = (long, short) if is_longer else (short, long)
        prompt = self.text(self._rng.randint(9, 20)) + "?"
        return {"prompt": prompt, "chosen": chosen, "rejected": rejected, "margin": self._rng.uniform(1.0, 3.0)}


def clean_rows(count: int, *, seed: int = 0, shorter: int = 0) -> list[Row]:
    """Rows without faults but that the chosen completion is the longer one, save in the first `shorter` rows."""
    words = _Words(seed)
    return [words.row(is_longer=number >= shorter) for number in range(count)]


def planted_rows(planted: Planted = PLANTED, *, seed: int = 0) -> list[Row]:
    """Rows with faults, each fault in rows of its own, shuffled. Chosen is longer but in `planted.shorter` rows."""
    words, rng = _Words(seed + 1), random.Random(seed)
    rows = clean_rows(planted.clean, seed=seed, shorter=planted.shorter)
    # Repeats are of rows whose chosen completion is the longer one, each of a row of its own.
    originals = iter(rows[planted.shorter :])
    rows += [
        *(dict(row) for row, _ in zip(originals, range(planted.duplicates), strict=False)),
        *(_nearly(row) for row, _ in zip(originals, range(planted.near_duplicates), strict=False)),
        *(_turned(row) for row, _ in zip(originals, range(planted.contradictions), strict=False)),
        *_with_margins(words, planted),
        *_with_completions(words, planted),
    ]
    rng.shuffle(rows)
    return rows


def _nearly(row: Row) -> Row:
    """One word of each text changed."""
    return {name: text if name == "margin" else _with_word(text, "kokoko") for name, text in row.items()}


def _turned(row: Row) -> Row:
    return {**row, "chosen": row["rejected"], "rejected": row["chosen"]}


def _with_word(text: str, word: str, at: int = 4) -> str:
    words = text.split()
    return " ".join([*words[:at], word, *words[at + 1 :]])


def _with_margins(words: _Words, planted: Planted) -> Iterator[Row]:
    for margin, count in ((0.0, planted.ties), (-1.0, planted.inverted), (0.01, planted.small)):
        for _ in range(count):
            yield {**words.row(), "margin": margin}


def _with_completions(words: _Words, planted: Planted) -> Iterator[Row]:
    """Rows with a fault in a completion, which is said of the row and of nothing else."""
    faults: list[tuple[int, Callable[[Row], Row]]] = [
        (planted.identical, lambda row: {"rejected": row["chosen"]}),
        (planted.nearly_identical, lambda row: {"rejected": _with_word(row["chosen"], "ko")}),
        (planted.refusals, lambda row: {"chosen": f"I'm sorry, but I can't help with that. {row['chosen']}"}),
        (planted.rejected_refusals, lambda _: {"rejected": f"As an AI language model, I cannot say. {words.text(3)}."}),
        (planted.empty, lambda _: {"rejected": "  "}),
        (planted.signs, lambda _: {"rejected": "..."}),
        (planted.truncated, lambda row: {"chosen": row["chosen"].rstrip(".") + " and the"}),
        (planted.cyrillic, lambda _: {"rejected": "Это ответ на другом языке, не так ли."}),
        (planted.control, lambda row: {"chosen": row["chosen"].replace(" ", " \x07", 1)}),
        (planted.template_tokens // 2, lambda row: {"chosen": f"{row['chosen']}<|im_start|> {words.text(3)}."}),
        (planted.template_tokens // 2, lambda row: {"chosen": f"{row['chosen']}\n\nHuman: {words.text(3)}."}),
    ]
    for count, fault in faults:
        for _ in range(count):
            row = words.row()
            yield {**row, **fault(row)}


def write_rows(path: Path, rows: Sequence[Row], *, broken: int = 0) -> Path:
    """A JSONL file of the rows, and at its end lines that are no JSON."""
    lines = [json.dumps(row, ensure_ascii=False) for row in rows] + ["{"] * broken
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path
