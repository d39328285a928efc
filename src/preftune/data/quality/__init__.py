"""What is wrong with a data set: checks on prompt groups, no model needed; and rules to clean it by."""

from preftune.data.quality.check import Check, CheckSettings
from preftune.data.quality.checks import CHECKS, chosen_checks
from preftune.data.quality.facts import GroupFacts, TokenCounts, facts_of
from preftune.data.quality.finding import SEVERITIES, Example, Finding, Severity
from preftune.data.quality.histogram import Histogram
from preftune.data.quality.report import QualityReport
from preftune.data.quality.run import Rows, TokenCounter, check_groups, prompt_keys

__all__ = [
    "CHECKS",
    "SEVERITIES",
    "Check",
    "CheckSettings",
    "Example",
    "Finding",
    "GroupFacts",
    "Histogram",
    "QualityReport",
    "Rows",
    "Severity",
    "TokenCounter",
    "TokenCounts",
    "check_groups",
    "chosen_checks",
    "facts_of",
    "prompt_keys",
]
