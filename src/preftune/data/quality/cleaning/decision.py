"""Which rows stay, by the rules that were chosen, in their order."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from preftune.data.quality.cleaning import rules as by_rule
from preftune.data.quality.cleaning.row_table import RowTable
from preftune.data.quality.cleaning.rules import Dropped
from preftune.errors import ConfigError

__all__ = ["CleaningRules", "Decision", "decide"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CleaningRules:
    """The rules to apply; each is off by default. They are applied in this order, each on what the others left.

    Args:
        drop_identical: Leave out rows whose chosen and rejected completions are the same.
        dedupe: Leave out rows that repeat an earlier one.
        drop_ties: Leave out rows in which no two completions differ by more than so much, >= 0.
        resolve_contradictions: Leave out rows that judge unlike the majority; all, where there is none.
        cap_per_prompt: Most rows of one prompt, >= 1.
        balance_length: Leave out rows until the longer completion is chosen as often as the shorter one.
        seed: Of the rows that are drawn.
    Raises:
        ConfigError: a value out of its range.
    """

    drop_identical: bool = False
    dedupe: bool = False
    drop_ties: float | None = None
    resolve_contradictions: Literal["majority"] | None = None
    cap_per_prompt: int | None = None
    balance_length: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        problems = []
        if self.drop_ties is not None and not self.drop_ties >= 0:
            problems.append(f"drop_ties = {self.drop_ties}: is a difference of scores and must be at least 0.")
        if self.cap_per_prompt is not None and self.cap_per_prompt < 1:
            problems.append(f"cap_per_prompt = {self.cap_per_prompt}: must be at least 1, or no row is left.")
        if problems:
            raise ConfigError(problems)


@dataclass(frozen=True, slots=True)
class Decision:
    """Which rows are left out and why.

    Args:
        rules: Of each row the number of the rule that leaves it out, in the order of `reasons`; -1 if it stays.
            Shape: (row,).
        reasons: Of each rule that was applied its name and what it says of a row.
        counts: Of each of them how many rows it leaves out.
    """

    rules: NDArray[np.int8]
    reasons: tuple[tuple[str, str], ...]
    counts: Mapping[str, int] = field(hash=False)


def decide(table: RowTable, rules: CleaningRules) -> Decision:
    """Apply the rules.

    Args:
        table: All rows.
        rules: Which to apply.
    Raises:
        ConfigError: a rule that has nothing to go by in these data.
    """
    _check_use(table, rules)
    kept = np.ones(table.num_rows, dtype=bool)
    by_row = np.full(table.num_rows, -1, dtype=np.int8)
    reasons: list[tuple[str, str]] = []
    counts: dict[str, int] = {}
    for name, dropped in _applied(table, kept, rules):
        by_row[dropped.rows] = len(reasons)
        kept[dropped.rows] = False
        reasons.append((name, dropped.reason))
        counts[name] = len(dropped.rows)
    return Decision(by_row, tuple(reasons), counts)


def _applied(table: RowTable, kept: NDArray[np.bool_], rules: CleaningRules) -> Iterator[tuple[str, Dropped]]:
    """Each rule on what is left when it is its turn: the caller takes rows out of `kept` in between."""
    if rules.drop_identical:
        yield "drop-identical", by_rule.drop_identical(table, kept)
    if rules.dedupe:
        yield "dedupe", by_rule.dedupe(table, kept)
    if rules.drop_ties is not None:
        yield "drop-ties", by_rule.drop_ties(table, kept, rules.drop_ties)
    if rules.resolve_contradictions is not None:
        yield "resolve-contradictions", by_rule.resolve_contradictions(table, kept)
    if rules.cap_per_prompt is not None:
        yield "cap-per-prompt", by_rule.cap_per_prompt(table, kept, rules.cap_per_prompt, seed=rules.seed)
    if rules.balance_length:
        yield "balance-length", by_rule.balance_length(table, kept, seed=rules.seed)


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
