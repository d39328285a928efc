"""All checks, one per file, in one table."""

from preftune.data.quality.checks.table import CHECKS, CheckEntry, Need, chosen_checks

__all__ = ["CHECKS", "CheckEntry", "Need", "chosen_checks"]
