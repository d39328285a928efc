"""Rules to clean a data set by: each names the rows to leave out, and why."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from preftune.data.quality.keys import mixed
from preftune.data.quality.row_table import RowTable
from preftune.errors import ConfigError
from preftune.settings.data_commands import CleaningRules

_BIN_WIDTH = 0.2

_Rows = NDArray[np.int64]
"""Indices into the table, rising. Shape: (row,)."""

_Mask = NDArray[np.bool_]
"""True for the rows that are still kept. Shape: (row,)."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Rows that are left out, and why.

    Args:
        rules: For each row the index into `reasons` of the rule that leaves it out; -1 if it stays. Shape: (row,).
        reasons: Name and reason of each rule applied.
        counts: Number of rows that each rule leaves out, by name.
    """

    rules: NDArray[np.int8]
    reasons: tuple[tuple[str, str], ...]
    counts: Mapping[str, int] = field(hash=False)


def decide(table: RowTable, rules: CleaningRules) -> Decision:
    """Apply the rules.

    Args:
        table: All rows.
        rules: Those to apply.
    Raises:
        ConfigError: a rule that needs facts which these data do not have.
    """
    _check_use(table, rules)
    kept = np.ones(table.num_rows, dtype=bool)
    by_row = np.full(table.num_rows, -1, dtype=np.int8)
    reasons: list[tuple[str, str]] = []
    counts: dict[str, int] = {}
    for name, reason, dropped in _applied(table, kept, rules):
        by_row[dropped] = len(reasons)
        kept[dropped] = False
        reasons.append((name, reason))
        counts[name] = len(dropped)
    return Decision(by_row, tuple(reasons), counts)


def _applied(table: RowTable, kept: _Mask, rules: CleaningRules) -> Iterator[tuple[str, str, _Rows]]:
    """Name, reason and rows of each rule. The caller removes the rows from `kept` before the next rule runs."""
    if rules.drop_identical:
        rows = np.flatnonzero(kept & table.is_identical)
        yield "drop-identical", "chosen and rejected are the same", rows
    if rules.dedupe:
        yield "dedupe", "repeats an earlier row", _repeats(table, kept)
    if rules.drop_ties is not None:
        rows = np.flatnonzero(kept & (table.gaps <= rules.drop_ties))
        yield "drop-ties", f"no two completions differ by more than {rules.drop_ties:g}", rows
    if rules.resolve_contradictions is not None:
        reason = "as many rows or more judge the same completions the other way round"
        yield "resolve-contradictions", reason, _outvoted(table, kept)
    if rules.cap_per_prompt is not None:
        reason = f"the prompt has more than {rules.cap_per_prompt} rows"
        yield "cap-per-prompt", reason, _beyond_cap(table, kept, rules.cap_per_prompt, rules.seed)
    if rules.balance_length:
        reason = "balances how often the longer completion is chosen"
        yield "balance-length", reason, _unbalanced(table, kept, rules.seed)


def _check_use(table: RowTable, rules: CleaningRules) -> None:
    problems = []
    if rules.drop_ties is not None and np.isnan(table.gaps).all():
        problems.append("drop_ties: no row has a margin or scores, so nothing says what a tie is. Leave it out.")
    if rules.balance_length and np.isnan(table.length_ratios).all():
        problems.append("balance_length: no row is a single pair, so there is nothing to balance. Leave it out.")
    if rules.resolve_contradictions is not None and not len(table.judged_keys):
        problems.append("resolve_contradictions: no row judges anything. Leave it out.")
    if problems:
        raise ConfigError(problems)


def _repeats(table: RowTable, kept: _Mask) -> _Rows:
    """Rows that repeat an earlier one, as the check `duplicates` finds them."""
    rows = np.flatnonzero(kept)
    _, firsts = np.unique(table.row_keys[rows], return_index=True)
    is_repeat = np.ones(len(rows), dtype=bool)
    is_repeat[firsts] = False
    return rows[is_repeat]


def _outvoted(table: RowTable, kept: _Mask) -> _Rows:
    """Rows with a judgement against the majority of the rows that judge the same. In a draw, all of them."""
    judged = np.flatnonzero(kept[table.judged_rows])
    ways = table.judged_ways[judged]
    _, index = np.unique(table.judged_keys[judged], return_inverse=True)
    votes = np.bincount(index, weights=np.where(ways, 1.0, -1.0)) if len(index) else np.zeros(0)
    counts = np.bincount(index) if len(index) else np.zeros(0)
    is_contradicted = np.abs(votes) < counts
    loses = is_contradicted[index] & (np.where(ways, votes[index], -votes[index]) <= 0)
    return np.unique(table.judged_rows[judged[loses]])


def _beyond_cap(table: RowTable, kept: _Mask, most: int, seed: int) -> _Rows:
    """Rows of a prompt beyond the first `most` of a seeded order, which does not depend on that of the file."""
    rows = np.flatnonzero(kept)
    return rows[_rank_within(table.prompt_keys[rows], _lots(table, rows, seed)) >= most]


def _unbalanced(table: RowTable, kept: _Mask, seed: int) -> _Rows:
    """Surplus rows of single pairs, by size of the difference in length.

    Pairs are binned by |log(words of chosen / words of rejected)|, in bins of 0.2. In each bin, the more frequent side
    keeps as many drawn rows as the other side has. Rows with no pair or several, and pairs of equal length, stay.
    """
    rows = np.flatnonzero(kept & (np.nan_to_num(table.length_ratios) != 0))
    ratios = table.length_ratios[rows]
    bins = np.floor(np.abs(ratios) / _BIN_WIDTH).astype(np.int64)
    sides = (ratios > 0).astype(np.int64)
    counts = np.stack([np.bincount(bins[sides == side], minlength=bins.max(initial=0) + 1) for side in (0, 1)])
    rank = _rank_within((2 * bins + sides).astype(np.uint64), _lots(table, rows, seed))
    return np.sort(rows[rank >= counts.min(axis=0)[bins]])


def _lots(table: RowTable, rows: _Rows, seed: int) -> NDArray[np.uint64]:
    """A random number for each row that depends on the seed and its content, not on its position. Shape: (row,)."""
    keys = table.row_keys[rows]
    return mixed(np.full_like(keys, seed % 2**64), keys)


def _rank_within(groups: NDArray[np.uint64], lots: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Rank of each item within its group, in the order of lots. Shape: (item,).

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
