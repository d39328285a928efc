"""Faults of a data set: checks on prompt groups that need no model, and rules to clean by."""

from preftune.data.quality.check import CheckSettings, DataFinding, Example
from preftune.data.quality.checks import CHECKS, chosen_checks
from preftune.data.quality.cleaning import decide
from preftune.data.quality.facts import TokenCounts, facts_of
from preftune.data.quality.histogram import Histogram
from preftune.data.quality.report import DATA_SEVERITIES, QualityReport
from preftune.data.quality.row_table import RowTable, RowTableBuilder
from preftune.data.quality.run import Rows, TokenCounter, check_groups, prompt_keys, special_tokens, token_counter

__all__ = [
    "CHECKS",
    "DATA_SEVERITIES",
    "CheckSettings",
    "DataFinding",
    "Example",
    "Histogram",
    "QualityReport",
    "RowTable",
    "RowTableBuilder",
    "Rows",
    "TokenCounter",
    "TokenCounts",
    "check_groups",
    "chosen_checks",
    "decide",
    "facts_of",
    "prompt_keys",
    "special_tokens",
    "token_counter",
]
