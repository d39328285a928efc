"""What `preftune check` shows on the terminal."""

from collections.abc import Mapping

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from preftune.data.quality import CHECKS, SEVERITIES, Finding, QualityReport, Severity

__all__ = ["show_checks", "show_report"]

_STYLES: Mapping[Severity, str] = {"error": "bold red", "warning": "bold yellow", "note": "dim"}
_NUM_PLACES, _NUM_TEXTS = 3, 2


def show_checks(console: Console) -> None:
    """List the checks and what each looks for."""
    table = Table("check", "looks for", "needs", box=None, header_style="bold")
    for name, entry in CHECKS.items():
        table.add_row(Text(name, style="bold"), Text(entry.about), Text(entry.needs or ""))
    console.print(table)


def show_report(console: Console, report: QualityReport) -> None:
    """Show the findings as a table, then excerpts of what is bad, then how many there are."""
    table = Table(expand=True, show_lines=True)
    table.add_column("severity", width=len("severity"))
    table.add_column("finding", ratio=3)
    table.add_column("count", justify="right")
    table.add_column("share", justify="right")
    is_single = len(report.sources) == 1
    table.add_column("first rows" if is_single else "first places", ratio=1, overflow="fold")
    for finding in report.findings:
        table.add_row(*_row(finding), Text(_places(finding, is_single=is_single)))
    if report.findings:
        console.print(table)
    for finding in report.findings:
        _show_texts(console, finding)
    for name, lack in report.skipped.items():
        _say(console, f"not checked: {name} ({lack})", style="dim")
    _say(console, _summary(report), style="bold")


def _row(finding: Finding) -> tuple[Text, Text, Text, Text]:
    what = Text(finding.title, style="" if finding.severity == "note" else "bold")
    if finding.advice:
        what.append(f"\n{finding.advice}", style="not bold")
    return (
        Text(finding.severity, style=_STYLES[finding.severity]),
        what,
        Text(f"{finding.count:,}"),
        Text(f"{100 * finding.share:.1f} %"),
    )


def _places(finding: Finding, *, is_single: bool) -> str:
    """Rows alone where all are of one source, else with the name of the file."""
    origins = [example.origin for example in finding.examples[:_NUM_PLACES]]
    places = [str(origin.row) if is_single else str(origin).rpartition("/")[2] for origin in origins]
    return (", " if is_single else "\n").join([*places, *(["..."] if finding.num_rows > len(places) > 0 else [])])


def _show_texts(console: Console, finding: Finding) -> None:
    shown = [example for example in finding.examples if example.text][:_NUM_TEXTS]
    if finding.severity == "note" or not shown:
        return
    _say(console, f"{finding.check}: {finding.title}", style="bold")
    for example in shown:
        note = f" ({example.note})" if example.note else ""
        console.print(Padding(Text("\n  ".join([f"{example.origin}{note}", *example.text.split("\n")])), (0, 0, 0, 2)))
    console.print()


def _summary(report: QualityReport) -> str:
    counts = [f"{report.num_of(severity)} {severity}{'s' * (report.num_of(severity) != 1)}" for severity in SEVERITIES]
    return f"{report.num_rows:,} rows in {report.seconds:.1f} s: {', '.join(counts)}"


def _say(console: Console, text: str, style: str | None = None) -> None:
    console.print(text, style=style, highlight=False, markup=False, soft_wrap=True)
