"""What all checks together found."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from preftune.data.quality.finding import SEVERITIES, Finding, Severity
from preftune.data.quality.histogram import Histogram

__all__ = ["QualityReport"]

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class QualityReport:
    """What the checks found in a data set.

    Args:
        sources: What was read.
        num_rows: Rows read, those that cannot be used included.
        findings: The worst first; of one severity in the order of the table of checks.
        histograms: Pictures of lengths and margins.
        checks: Names of the checks that ran.
        skipped: Of each check that could not run what it lacks.
        seconds: How long it took.
    """

    sources: tuple[str, ...]
    num_rows: int
    findings: tuple[Finding, ...]
    histograms: tuple[Histogram, ...]
    checks: tuple[str, ...]
    skipped: Mapping[str, str]
    seconds: float

    def num_of(self, severity: Severity) -> int:
        """How many findings have this severity."""
        return sum(finding.severity == severity for finding in self.findings)

    def fails(self, bound: Severity) -> bool:
        """Whether a finding is as bad as the bound or worse."""
        bad = SEVERITIES[: SEVERITIES.index(bound) + 1]
        return any(finding.severity in bad for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "version": SCHEMA_VERSION,
            "sources": list(self.sources),
            "num_rows": self.num_rows,
            "seconds": round(self.seconds, 3),
            "checks": list(self.checks),
            "skipped": dict(self.skipped),
            "counts": {severity: self.num_of(severity) for severity in SEVERITIES},
            "findings": [_finding_as_dict(finding) for finding in self.findings],
            "histograms": [_histogram_as_dict(histogram) for histogram in self.histograms],
        }


def _finding_as_dict(finding: Finding) -> dict[str, Any]:
    return {
        "check": finding.check,
        "severity": finding.severity,
        "title": finding.title,
        "count": finding.count,
        "total": finding.total,
        "share": round(finding.share, 6),
        "unit": finding.unit,
        "why": finding.why,
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
