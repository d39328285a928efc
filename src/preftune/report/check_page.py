"""Page of a data check: one self-contained HTML file."""

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from preftune.data.quality.histogram import Histogram
from preftune.data.quality.report import DATA_SEVERITIES, QualityReport
from preftune.files.pictures import COLOURS, new_figure, picture_style, svg_element, svg_file
from preftune.report.page import render

_SIDE_COLOURS = {"chosen": "blue", "rejected": "red"}
_OTHER = "green"


def histogram_svg(histogram: Histogram) -> str:
    """A picture of a histogram as a self-contained `<svg>` element.

    Args:
        histogram: Counts of one or several kinds, drawn one over the other.
    """
    with picture_style():
        figure = new_figure()
        _draw(figure.add_subplot(), histogram)
    kinds = ", ".join(histogram.counts)
    return svg_element(svg_file(figure), f"Histogram: {histogram.title} in {histogram.unit} ({kinds})")


def _draw(axes: Axes, histogram: Histogram) -> None:
    edges = histogram.edges
    for name, counts in histogram.counts.items():
        colour = COLOURS[_SIDE_COLOURS.get(name, _OTHER)].light
        axes.stairs(counts, edges, fill=True, alpha=0.25, color=colour)
        axes.stairs(counts, edges, label=name, color=colour, linewidth=1.2)
    if histogram.is_logarithmic and edges[-1] / max(edges[0], 1.0) > 1:
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.set_xticks(_ticks(edges[0], max(edges[-1], histogram.limit or 0)))
    if histogram.limit is not None:
        axes.axvline(
            histogram.limit,
            color=COLOURS["text"].light,
            linestyle="--",
            linewidth=1,
            label=f"limit {histogram.limit:,.0f}",
        )
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_xlabel(histogram.unit)
    axes.legend()


def _ticks(lowest: float, highest: float) -> list[float]:
    """Round numbers on a logarithmic scale, at most about six.

    >>> _ticks(1, 300)
    [1, 3, 10, 30, 100, 300]
    >>> _ticks(1, 30_000)
    [1, 10, 100, 1000, 10000]
    """
    steps = (1, 3) if highest / lowest < 1000 else (1,)
    ticks = [step * 10**power for power in range(12) for step in steps]
    return [tick for tick in ticks if lowest <= tick <= highest] or [round(lowest, 1)]


_NUM_ROWS = 200


def check_page(report: QualityReport) -> str:
    """The page, with pictures of lengths and margins.

    Args:
        report: The report. Texts of the data are escaped, so nothing in them can run as code.
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
        severities=[
            (severity, [item for item in findings if item["severity"] == severity]) for severity in DATA_SEVERITIES
        ],
        pictures=[(histogram.title, histogram_svg(histogram)) for histogram in report.histograms],
    )
