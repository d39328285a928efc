"""Console output of a sweep: a line per finished point, and tables at the end."""

from collections.abc import Callable, Iterator, Sequence

from rich.table import Table

from preftune.files.number_text import duration_text
from preftune.metrics.intervals import Bootstrap
from preftune.settings.sweep_sections import VALUE_TEXTS, ValueKind, value_format
from preftune.sweep.model_evaluation import interval_of
from preftune.sweep.recommendation import interval_text
from preftune.sweep.result import ModelRow, PointRecord, PointRow, Realigned, SweepResult
from preftune.sweep.run_point import PointOutcome

_NATS = "{:z.2f}".format


def outcome_line(outcome: PointOutcome, kind: ValueKind, bootstrap: Bootstrap) -> str:
    """One line on the outcome of a point."""
    record, name = outcome.record, outcome.point.name + (" (done earlier)" if outcome.was_done else "")
    if outcome.final is None:
        return f"{name}: {record.status}: {record.error or 'not at its end yet'}"
    value = interval_of(outcome.final.value, kind, bootstrap)
    kl = interval_of(outcome.final.kl, None, bootstrap)
    parts = [
        f"{record.num_steps:,} steps in {duration_text(record.seconds)}",
        f"{VALUE_TEXTS[kind]} {interval_text(value, value_format(kind))}",
        f"KL {interval_text(kl, _NATS)}",
        f"reference log-probs: {record.num_computed:,} computed, {record.num_kept:,} kept",
    ]
    if not outcome.final.is_complete:
        parts.append("verdicts are missing: run the same command again to ask for them")
    if record.health:
        parts.append(f"health: {_health(record)}")
    return f"{name}: " + "; ".join(parts)


def tables_of(result: SweepResult) -> Iterator[Table]:
    """Tables of all models, of means over seeds if there are several, and of the realigned run."""
    yield _points(result)
    if any(row.num_seeds > 1 for row in result.setups):
        yield _setups(result)
    if result.realigned is not None:
        yield _realigned(result, result.realigned)


def summary_lines(result: SweepResult) -> Iterator[str]:
    """The recommendation, its reasons and warnings."""
    yield reference_line(result)
    found = result.recommendation
    if found is not None:
        yield found.headline
        yield from (f"  {reason}" for reason in found.reasons)
        yield from (f"  Beware: {warning}" for warning in found.warnings)


def reference_line(result: SweepResult) -> str:
    """The number of reference log-probs computed."""
    return f"reference log-probs: {result.num_computed:,} computed for all {len(result.points)} points together"


def _points(result: SweepResult) -> Table:
    shows_accuracy = result.value != "accuracy" and any(model.accuracy for row in result.points for model in row.models)
    table = Table(title=f"{len(result.points)} points", title_justify="left", title_style="bold")
    table.add_column("point", overflow="fold")
    headings = ["steps", _heading(result), "KL, nats", *(["accuracy"] if shows_accuracy else [])]
    for heading in headings:
        table.add_column(heading, justify="right", overflow="fold")
    for heading in ("frontier", "health"):
        table.add_column(heading, overflow="fold")
    has_seeds = len({row.seed for row in result.points}) > 1
    for row in result.points:
        label = f"{row.setup}, seed={row.seed}" if has_seeds else row.setup
        for cells in _cells(row, label, value_format(result.value), shows_accuracy=shows_accuracy):
            table.add_row(*cells)
    return table


def _cells(row: PointRow, label: str, unit: Callable[[float], str], *, shows_accuracy: bool) -> Iterator[list[str]]:
    if not row.models:
        what = row.record.error or ("not at its end" if row.record.status == "open" else row.record.status)
        yield [label, f"{row.record.num_steps:,}", *[""] * (3 + shows_accuracy), what]
    for model in row.models:
        is_final = model is row.models[-1]
        accuracy = interval_text(model.accuracy, "{:.1%}".format) if model.accuracy is not None else ""
        yield [
            label if is_final else f"  step {model.step:,}",
            f"{model.step:,}",
            *_value_and_kl(model, unit),
            *([accuracy] if shows_accuracy else []),
            "yes" if model.on_frontier else "",
            (_health(row.record) or "no finding") if is_final else "",
        ]


def _setups(result: SweepResult) -> Table:
    table = Table(title="Means over seeds", title_justify="left", title_style="bold")
    for heading in ("", "seeds", _heading(result), "KL, nats"):
        table.add_column(heading, justify="right" if heading else "left")
    for row in result.setups:
        value = interval_text(row.value, value_format(result.value))
        table.add_row(row.setup, str(row.num_seeds), value, interval_text(row.kl, _NATS))
    return table


def _realigned(result: SweepResult, found: Realigned) -> Table:
    table = Table(title=f"{found.name}, mixed with its reference", title_justify="left", title_style="bold")
    for heading in ("strength", _heading(result), "KL, nats"):
        table.add_column(heading, justify="right")
    for model in found.models:
        table.add_row(f"{model.strength:g}", *_value_and_kl(model, value_format(result.value)))
    return table


def _value_and_kl(model: ModelRow, unit: Callable[[float], str]) -> Sequence[str]:
    return interval_text(model.value, unit), interval_text(model.kl, _NATS)


def _heading(result: SweepResult) -> str:
    return VALUE_TEXTS[result.value] + (f" against {result.against}" if result.against else "")


def _health(record: PointRecord) -> str:
    return ", ".join(f"{severity}: {title}" for severity, title in record.health)
