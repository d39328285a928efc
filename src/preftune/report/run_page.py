"""Page of a run: one self-contained HTML file."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from preftune.data.quality.report import DATA_SEVERITIES
from preftune.evaluation.result import EvaluationResult, tables_of
from preftune.files.number_text import number_text, percent_text
from preftune.metrics.catalogue import find_metric, metric_text
from preftune.report.curves import MANY_POINTS
from preftune.report.facts import data_losses, data_table, environment_facts, method_parts, run_facts, settings_tables
from preftune.report.generations import generations_of
from preftune.report.page import PageTable, Row, page_table, render
from preftune.report.pictures import Picture, curve_pictures, evaluation_pictures, write_plots
from preftune.report.run_record import RunRecord
from preftune.report.verdict import (
    check_command,
    evaluation_command,
    generation_command,
    lacks_of,
    lead_of,
    main_win_rate,
)
from preftune.runs.data_report import CheckFinding, DataCheckRecord
from preftune.training.health.finding import HealthRecord
from preftune.training.health.rule import HealthRule
from preftune.training.health.table import RULES

_ABOUT = {
    "adapter_config.json": "the adapter's settings",
    "adapter_model.safetensors": "the tuned adapter",
    "chat_template.jinja": "how conversations become text",
    "config.json": "the model's settings",
    "config.yaml": "all settings of the run; repeats it",
    "data-check.json": "what is wrong with the data",
    "evaluation.json": "the result of preftune eval",
    "generation_config.json": "how the model samples by itself",
    "health.json": "what rules on the run's health found",
    "metrics.jsonl": "every metric, a line per logged step and evaluation",
    "model.safetensors": "the tuned model",
    "plots": "the curves as SVG and PNG files",
    "report.html": "this page",
    "run.json": "versions, git state, command",
    "runs": "for TensorBoard",
    "samples.jsonl": "what the model wrote, evaluation by evaluation",
    "summary.json": "first, last and best of each metric, time, memory, data",
    "tokenizer.json": "the tokenizer",
    "tokenizer_config.json": "its settings",
    "training_args.bin": "arguments of the trainer",
}
_BY_START = (
    ("checkpoint-", "to resume from, or to evaluate"),
    ("model-", "a part of the tuned model"),
    ("evaluation-strength-", "the result of preftune eval --strength"),
)


@dataclass(frozen=True, slots=True)
class RunFile:
    """A file or folder of a run.

    Args:
        name: Name in the run's folder; folders end with a slash.
        about: Description; empty for files that are not the run's own.
    """

    name: str
    num_bytes: int
    about: str


def files_of(folder: Path) -> Iterator[RunFile]:
    """The files in the folder by name, without hidden ones."""
    for path in sorted(folder.iterdir(), key=lambda path: (path.is_dir(), path.name)):
        if not path.name.startswith("."):
            yield RunFile(path.name + "/" * path.is_dir(), _size(path), _about(path.name))


def _size(path: Path) -> int:
    files = [path] if path.is_file() else [item for item in path.rglob("*") if item.is_file()]
    return sum(file.stat().st_size for file in files)


def _about(name: str) -> str:
    starts = (text for start, text in _BY_START if name.startswith(start))
    return _ABOUT.get(name) or next(starts, "")


@dataclass(frozen=True, slots=True)
class RuleOutcome:
    """A health rule, and its outcome in a run.

    Args:
        not_applied: Runs it applies to, if this is none of them; else empty.
        has_fired: True if it has a finding.
    """

    rule: HealthRule
    not_applied: str
    has_fired: bool


def rules_of(run: RunRecord) -> Iterator[RuleOutcome]:
    """The rules of this version that read the run's metrics or did not apply to it; none without a health record."""
    health = run.health or HealthRecord(())
    fired = {finding.rule for finding in run.findings}
    for name, rule in RULES.items():
        if name in health.rules or name in health.not_applied or name in fired:
            yield RuleOutcome(rule, health.not_applied.get(name, ""), name in fired)


@dataclass(frozen=True, slots=True, eq=False)
class RunReport:
    """A run's report before it is written.

    Args:
        curves: Pictures of logged metrics.
        evaluation: Pictures of the evaluation.
    """

    run: RunRecord
    curves: tuple[Picture, ...]
    evaluation: tuple[Picture, ...]

    def page(self) -> str:
        """The page."""
        run = self.run
        return render(
            "run.html.jinja",
            run=run,
            verdict=lead_of(run),
            lacks=list(lacks_of(run)),
            parts_of_method=method_parts(run),
            facts=list(run_facts(run)),
            environment=list(environment_facts(run)),
            settings=settings_tables(run),
            data_table=data_table(run),
            data_losses=list(data_losses(run)),
            data_check=run.data_check,
            check_severities=_by_severity(run.data_check),
            commands={
                "check": check_command(run),
                "evaluate": evaluation_command(run),
                "generate": generation_command(run),
            },
            curves=self.curves,
            has_means=len(run.series("loss").steps) > MANY_POINTS,
            metrics=_metrics(run),
            rules=list(rules_of(run)),
            generations=generations_of(run),
            evaluation_pictures=self.evaluation,
            evaluation_tables=_evaluation_tables(run.evaluation),
            realigned=_realigned(run),
            files=list(files_of(run.folder)),
        )

    def write_plots(self) -> None:
        """Write the pictures into the run's folder, `plots/`.

        Raises:
            SaveError: they cannot be written.
        """
        write_plots(self.run.folder / "plots", (*self.curves, *self.evaluation))


def report_run(folder: str | Path) -> RunReport:
    """The report of a run.

    Raises:
        OutputError: the folder is not there, or not of a run.
        ConfigError, DataError: a file in it is damaged.
    """
    run = RunRecord.read(Path(folder))
    return RunReport(run, tuple(curve_pictures(run)), tuple(evaluation_pictures(run)))


def _by_severity(check: DataCheckRecord | None) -> list[tuple[str, list[CheckFinding]]]:
    findings = () if check is None else check.findings
    grouped = [(severity, [item for item in findings if item.severity == severity]) for severity in DATA_SEVERITIES]
    return [(severity, found) for severity, found in grouped if found]


def _metrics(run: RunRecord) -> PageTable | None:
    """First, last and best value of each metric, as in the table at a run's end."""
    if run.summary is None:
        return None
    rows: list[Row] = []
    for label, paths in (("", run.summary.train), ("held out: ", run.summary.held_out)):
        for place, (name, path) in enumerate(paths.items()):
            metric = find_metric(name)
            best = ("", "") if path.best is None else (metric_text(name, path.best), number_text(path.best_step))
            title = label + (name if metric is None else metric.title)
            cells = (title, metric_text(name, path.first), metric_text(name, path.last), *best)
            rows.append(Row(cells, begins_section=place == 0 and bool(rows)))
    return PageTable("", ("", "first", "last", "best", "at step"), tuple(rows)) if rows else None


def _evaluation_tables(found: EvaluationResult | None) -> list[PageTable]:
    return [] if found is None else [page_table(table) for table in tables_of(found)]


def _realigned(run: RunRecord) -> PageTable | None:
    """Results of evaluations at other strengths, with the model itself as strength 1."""
    at = {result.strength: result for result in run.realigned if result.strength is not None}
    if not at:
        return None
    if run.evaluation is not None:
        at.setdefault(1.0, run.evaluation)
    rows = tuple(Row((f"{strength:g}", *_main_estimates(at[strength]))) for strength in sorted(at))
    return PageTable("", ("strength", "held-out accuracy", "KL, nats", "win rate", "score"), rows)


def _main_estimates(found: EvaluationResult) -> Iterator[str]:
    pairs = None if found.preferences is None else found.preferences.pairs
    yield "" if pairs is None else percent_text(pairs.accuracy.value)
    kl = None if found.samples is None else found.samples.kl
    yield "" if kl is None else str(kl)
    rate = main_win_rate(found)
    yield "" if rate is None else percent_text(rate.rate.value)
    yield "" if rate is None or rate.our_score is None else str(rate.our_score)
