"""Rules to clean a data set by: which rows to leave out, and why."""

from preftune.data.quality.cleaning.decision import CleaningRules, Decision, decide
from preftune.data.quality.cleaning.row_table import RowTable, RowTableBuilder

__all__ = ["CleaningRules", "Decision", "RowTable", "RowTableBuilder", "decide"]
