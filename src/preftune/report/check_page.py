"""A quality report as a page: one HTML file that asks for nothing else."""

from preftune.data.quality import SEVERITIES, QualityReport
from preftune.report.check_pictures import histogram_svg
from preftune.report.templates import render

__all__ = ["check_page"]

_NUM_ROWS = 200


def check_page(report: QualityReport) -> str:
    """The page, with pictures of lengths and margins in it.

    Args:
        report: What to show. Texts of the data are escaped, so that nothing in them can act.
    """
    findings = report.as_dict()["findings"]
    is_single = len(report.sources) == 1
    return render(
        "check.html.jinja",
        report=report,
        findings_in_order=findings,
        row_lists=[
            [origin.row if is_single else origin for origin in found.rows[:_NUM_ROWS]] for found in report.findings
        ],
        severities=[(severity, [item for item in findings if item["severity"] == severity]) for severity in SEVERITIES],
        pictures=[(histogram.title, histogram_svg(histogram)) for histogram in report.histograms],
    )
