"""The rules: each says which of the rows that are left it leaves out, and why."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from preftune.data.quality.cleaning.row_table import RowTable
from preftune.data.quality.keys import mixed

__all__ = [
    "Dropped",
    "balance_length",
    "cap_per_prompt",
    "dedupe",
    "drop_identical",
    "drop_ties",
    "resolve_contradictions",
]

_BIN_WIDTH = 0.2


@dataclass(frozen=True, slots=True)
class Dropped:
    """Rows that a rule leaves out.

    Args:
        rows: Indices into the table, rising. Shape: (row,).
        reason: Why, the same for all.
    """

    rows: NDArray[np.int64]
    reason: str


def drop_identical(table: RowTable, kept: NDArray[np.bool_]) -> Dropped:
    """Rows whose chosen and rejected completions are the same but for case and white space.

    Args:
        table: All rows.
        kept: Which of them are left. Shape: (row,).
    """
    return Dropped(np.flatnonzero(kept & table.is_identical), "chosen and rejected are the same")


def dedupe(table: RowTable, kept: NDArray[np.bool_]) -> Dropped:
    """Rows that repeat an earlier one: see the check `duplicates`.

    Args:
        table, kept: As in `drop_identical`.
    """
    rows = np.flatnonzero(kept)
    _, firsts = np.unique(table.row_keys[rows], return_index=True)
    repeats = np.ones(len(rows), dtype=bool)
    repeats[firsts] = False
    return Dropped(rows[repeats], "repeats an earlier row")


def drop_ties(table: RowTable, kept: NDArray[np.bool_], gap: float) -> Dropped:
    """Rows in which no completion is further than a gap from another; those that know no margins or scores stay.

    Args:
        table, kept: As in `drop_identical`.
        gap: On the scale of the data, >= 0; a difference of just so much is a tie, too.
    """
    return Dropped(np.flatnonzero(kept & (table.gaps <= gap)), f"no two completions differ by more than {gap:g}")


def resolve_contradictions(table: RowTable, kept: NDArray[np.bool_]) -> Dropped:
    """Rows that judge some pair, or completion, unlike the majority of the rows that judge it; where as many say so as
    say the contrary, all of them.

    Args:
        table, kept: As in `drop_identical`.
    """
    judged = np.flatnonzero(kept[table.judged_rows])
    ways = table.judged_ways[judged]
    _, index = np.unique(table.judged_keys[judged], return_inverse=True)
    votes = np.bincount(index, weights=np.where(ways, 1.0, -1.0)) if len(index) else np.zeros(0)
    counts = np.bincount(index) if len(index) else np.zeros(0)
    is_contradicted = np.abs(votes) < counts
    loses = is_contradicted[index] & (np.where(ways, votes[index], -votes[index]) <= 0)
    rows = np.unique(table.judged_rows[judged[loses]])
    return Dropped(rows, "as many rows or more judge the same completions the other way round")


def cap_per_prompt(table: RowTable, kept: NDArray[np.bool_], most: int, *, seed: int) -> Dropped:
    """Rows of a prompt beyond so many, drawn by the seed whatever the order of the file.

    Args:
        table, kept: As in `drop_identical`.
        most: Rows of a prompt that stay, >= 1.
        seed: Another seed keeps other rows.
    """
    rows = np.flatnonzero(kept)
    rank = _rank_within(table.prompt_keys[rows], _lots(table, rows, seed))
    return Dropped(rows[rank >= most], f"the prompt has more than {most} rows")


def balance_length(table: RowTable, kept: NDArray[np.bool_], *, seed: int) -> Dropped:
    """Rows of pairs, so that among pairs that differ as much in length chosen is as often the longer as the shorter.

    Pairs are binned by the size of the logarithm of the ratio of their words, bins of 0.2. In each bin of the more
    frequent side as many are drawn as there are of the other. Rows of no pair or several, and pairs of equal length,
    stay.

    Args:
        table, kept, seed: As in `cap_per_prompt`.
    """
    rows = np.flatnonzero(kept & (np.nan_to_num(table.length_ratios) != 0))
    ratios = table.length_ratios[rows]
    bins = np.floor(np.abs(ratios) / _BIN_WIDTH).astype(np.int64)
    sides = (ratios > 0).astype(np.int64)
    counts = np.stack([np.bincount(bins[sides == side], minlength=bins.max(initial=0) + 1) for side in (0, 1)])
    rank = _rank_within((2 * bins + sides).astype(np.uint64), _lots(table, rows, seed))
    return Dropped(
        np.sort(rows[rank >= counts.min(axis=0)[bins]]), "balances how often the longer completion is chosen"
    )


def _lots(table: RowTable, rows: NDArray[np.int64], seed: int) -> NDArray[np.uint64]:
    """A number for each row that depends on the seed and on what the row says, not on where it stands."""
    keys = table.row_keys[rows]
    return mixed(np.full_like(keys, seed % 2**64), keys)


def _rank_within(groups: NDArray[np.uint64], lots: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Of each item how many of its group come before it, in the order of lots.

    >>> _rank_within(np.array([5, 5, 7], np.uint64), np.array([2, 1, 3], np.uint64)).tolist()
    [1, 0, 0]
    """
    order = np.lexsort((np.arange(len(groups)), lots, groups))
    ordered = groups[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])) if len(groups) else np.zeros(0, int)
    sizes = np.diff([*starts, len(groups)])
    ranks = np.empty(len(groups), dtype=np.int64)
    ranks[order] = np.arange(len(groups)) - np.repeat(starts, sizes)
    return ranks
