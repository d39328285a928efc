"""The report of all checks on a data set."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from preftune.data.quality.check import DataFinding
from preftune.data.quality.histogram import Histogram
from preftune.findings import Severity, is_as_severe

SCHEMA_VERSION = 1

DATA_SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""Severities of data checks, the worst first."""


@dataclass(frozen=True, slots=True)
class QualityReport:
    """Findings of the checks on a data set.

    Args:
        sources: Names of the files or data sets.
        num_rows: Rows read, including those that cannot be used.
        findings: The worst first; of one severity in the order of the table of checks.
        histograms: Pictures of lengths and margins.
        checks: Names of the checks that ran.
        skipped: For each check that could not run, its missing input.
        seconds: Run time.
    """

    sources: tuple[str, ...]
    num_rows: int
    findings: tuple[DataFinding, ...]
    histograms: tuple[Histogram, ...]
    checks: tuple[str, ...]
    skipped: Mapping[str, str]
    seconds: float

    def num_of(self, severity: Severity) -> int:
        """Number of findings of a severity."""
        return sum(finding.severity == severity for finding in self.findings)

    def fails(self, bound: Severity) -> bool:
        """True if a finding is as severe as the bound, or worse."""
        return any(is_as_severe(finding.severity, bound) for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON holds it."""
        return {
            "version": SCHEMA_VERSION,
            "sources": list(self.sources),
            "num_rows": self.num_rows,
            "seconds": round(self.seconds, 3),
            "checks": list(self.checks),
            "skipped": dict(self.skipped),
            "counts": {severity: self.num_of(severity) for severity in DATA_SEVERITIES},
            "findings": [_finding_as_dict(finding) for finding in self.findings],
            "histograms": [_histogram_as_dict(histogram) for histogram in self.histograms],
        }


def _finding_as_dict(finding: DataFinding) -> dict[str, Any]:
    return {
        "check": finding.rule,
        "severity": finding.severity,
        "title": finding.title,
        "count": finding.count,
        "total": finding.total,
        "share": round(finding.share, 6),
        "unit": finding.unit,
        "why": finding.reason,
        "advice": finding.advice,
        "measures": dict(finding.measures),
        "examples": [
            {"place": str(example.origin), "note": example.note, "text": example.text} for example in finding.examples
        ],
        "num_rows": finding.num_rows,
        "rows": [str(origin) for origin in finding.rows],
    }


def _histogram_as_dict(histogram: Histogram) -> dict[str, Any]:
    return {
        "title": histogram.title,
        "unit": histogram.unit,
        "edges": list(histogram.edges),
        "counts": {name: list(counts) for name, counts in histogram.counts.items()},
        "limit": histogram.limit,
    }
