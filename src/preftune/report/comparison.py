"""Page of several runs side by side: differing settings, metrics, evaluations, curves and samples."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from preftune.errors import ConfigError
from preftune.files.number_text import bytes_text, duration_text, percent_text, value_text
from preftune.files.pictures import RUN_COLOURS
from preftune.metrics.catalogue import HELD_OUT, METRICS, Metric, find_metric
from preftune.metrics.intervals import Interval
from preftune.report.curves import overlaid_figure
from preftune.report.generations import Written, latest_texts
from preftune.report.page import PageTable, Row, render
from preftune.report.panels import Curve, Panel, panels_of
from preftune.report.pictures import Picture
from preftune.report.run_record import RunRecord
from preftune.report.verdict import lead_of, main_win_rate, severities_text
from preftune.runs.result import RunResult
from preftune.settings import SETTINGS

_WITHOUT_EFFECT = frozenset(name for name, item in SETTINGS.items() if item.changes in ("folder", "output"))
_HELD_OUT = tuple(name for name, item in SETTINGS.items() if item.decides in ("data", "held out"))
_NUM_TEXTS = 8


def labels_of(runs: Sequence[RunRecord]) -> list[str]:
    """A label for each run: the shortest end of its path that differs from all others."""
    parts = [run.folder.resolve().parts for run in runs]
    for count in range(1, max(map(len, parts)) + 1):
        labels = ["/".join(path[-count:]) for path in parts]
        if len(set(labels)) == len(labels):
            return labels
    return [str(run.folder) for run in runs]


def differing_settings(runs: Sequence[RunRecord], labels: Sequence[str]) -> PageTable:
    """The settings that differ between runs; a dash where a run does not have the setting."""
    names = dict.fromkeys(name for run in runs for name in run.settings if name not in _WITHOUT_EFFECT)
    rows = []
    for name in names:
        texts = tuple(value_text(run.settings[name]) if name in run.settings else "–" for run in runs)
        if len(set(texts)) > 1:
            rows.append(Row((name, *texts)))
    return PageTable("", ("setting", *labels), tuple(rows))


def notes_on(runs: Sequence[RunRecord], labels: Sequence[str]) -> Iterator[str]:
    """Reasons why numbers of these runs may not be comparable."""
    held_out = {tuple(str(run.settings.get(name)) for name in (*_HELD_OUT, *_seed(run))) for run in runs}
    if len(held_out) > 1:
        yield "The runs hold out different data, so their held-out numbers describe different pairs."
    scales = {_reward_scale(run) for run in runs}
    if len(scales) > 1:
        yield (
            "The runs scale rewards differently (method or beta), so that losses, margins and rewards cannot be "
            "compared with each other; accuracy, log-probs, KL and win rates can."
        )
    for run, label in zip(runs, labels, strict=True):
        if run.evaluation_problem is not None:
            yield f"{label}: {run.evaluation_problem}"
    sampled = [run.evaluation.samples for run in runs if run.evaluation is not None]
    if len({None if found is None else found.max_new_tokens for found in sampled}) > 1:
        yield "The evaluations drew samples of different maximum length, on which KL and length depend."


def metric_rows(runs: Sequence[RunRecord], labels: Sequence[str]) -> PageTable:
    """Health, metrics and cost of each run; metrics from the first value to that of the model, held out if logged."""
    rows = [Row(("health", *map(_health, runs)))]
    for name, metric in METRICS.items():
        if metric.shown == "hidden":
            continue
        part = "of samples" if metric.is_of_samples else "held out"
        paths = [_path(run, HELD_OUT + name) for run in runs]
        if not any(paths):
            part, paths = "training", [_path(run, name) for run in runs]
        row = _metric_row(metric, metric.title if metric.is_of_samples else f"{metric.title}; {part}", paths)
        rows += [] if row is None else [row]
    rows += list(_cost_rows(runs))
    return PageTable("", ("", *labels), tuple(rows))


def evaluation_rows(runs: Sequence[RunRecord], labels: Sequence[str]) -> PageTable | None:
    """Estimates of `preftune eval` for each run, with intervals; None if no run was evaluated."""
    rows = []
    for label, estimate, is_share in _ESTIMATES:
        found = [estimate(run) for run in runs]
        if any(found):
            rows.append(Row((label, *(_with_ends(interval, is_share=is_share) for interval in found))))
    return PageTable("", ("", *labels), tuple(rows)) if rows else None


def compared_texts(runs: Sequence[RunRecord]) -> list[Written]:
    """The last samples of each run, for prompts that all runs share."""
    texts = [latest_texts(run) for run in runs]
    shared = [prompt for prompt in texts[0] if all(prompt in own for own in texts)]
    return [Written(prompt, tuple(own[prompt] for own in texts)) for prompt in shared[:_NUM_TEXTS]]


def _seed(run: RunRecord) -> tuple[str, ...]:
    """The seed decides the held-out data if they are a fraction of the training data."""
    return ("seed",) if run.settings.get("eval_fraction") else ()


def _reward_scale(run: RunRecord) -> tuple[str, float | None]:
    method = run.method
    part = None if method is None else method.rewarding
    return str(run.settings.get("method")), None if part is None else part.reward_scale


def _health(run: RunRecord) -> str:
    if not run.findings:
        return "no finding" if run.health is not None else "not known"
    return severities_text(run)


def _metric_row(metric: Metric, label: str, paths: Sequence[tuple[float, float] | None]) -> Row | None:
    if not any(paths):
        return None
    texts = ["–" if path is None else f"{metric.text(path[0])} → {metric.text(path[1])}" for path in paths]
    return Row((label, *texts), best=_best(paths) if metric.is_comparable else ())


def _best(paths: Sequence[tuple[float, float] | None]) -> tuple[int, ...]:
    """Cells with the highest last value; none if all are equal.

    >>> _best([(0.5, 0.6), None, (0.5, 0.7)]), _best([(0.5, 0.6), (0.4, 0.6)])
    ((3,), ())
    """
    ends = [path[1] for path in paths if path is not None and not math.isnan(path[1])]
    if len(set(ends)) < 2:
        return ()
    return tuple(place for place, path in enumerate(paths, start=1) if path is not None and path[1] == max(ends))


def _path(run: RunRecord, metric: str) -> tuple[float, float] | None:
    """The first value, and that of the run's model."""
    series = run.series(metric)
    if not series:
        return None
    at_kept = series.at(run.kept.step) if run.kept else None
    return series.values[0], series.values[-1] if at_kept is None else at_kept


def _cost_rows(runs: Sequence[RunRecord]) -> Iterator[Row]:
    costs: tuple[tuple[str, Callable[[RunResult], str]], ...] = (
        ("steps", lambda summary: f"{summary.num_steps:,}"),
        ("tokens", lambda summary: f"{summary.num_tokens:,}"),
        ("time", lambda summary: duration_text(summary.seconds)),
        ("peak memory", lambda summary: bytes_text(summary.peak_memory_bytes)),
    )
    for place, (label, text) in enumerate(costs):
        cells = ["–" if run.summary is None else text(run.summary) for run in runs]
        yield Row((label, *cells), begins_section=place == 0)


def _with_ends(interval: Interval | None, *, is_share: bool) -> str:
    if interval is None:
        return "–"
    if not is_share:
        return str(interval)
    ends = "" if interval.low != interval.low else f" [{percent_text(interval.low)}, {percent_text(interval.high)}]"
    return percent_text(interval.value) + ends


@dataclass(frozen=True, slots=True)
class _Estimates:
    run: RunRecord

    def pairs(self, name: str) -> Interval | None:
        found = self.run.evaluation
        if found is None or found.preferences is None or found.preferences.pairs is None:
            return None
        pairs = found.preferences.pairs
        known = {
            "accuracy": pairs.accuracy,
            "margin": pairs.margin,
            "log_loss": pairs.calibration.log_loss,
            "calibration": pairs.calibration.expected_error,
        }
        return known[name]

    def samples(self, name: str) -> Interval | None:
        found = None if self.run.evaluation is None else self.run.evaluation.samples
        if found is None:
            return None
        return {"kl": found.kl, "entropy": found.entropy, "length": found.policy.length}[name]

    def win_rate(self, name: str) -> Interval | None:
        rate = None if self.run.evaluation is None else main_win_rate(self.run.evaluation)
        if rate is None:
            return None
        return {"rate": rate.rate, "length_controlled": rate.length_controlled, "score": rate.our_score}[name]


_ESTIMATES: tuple[tuple[str, Callable[[RunRecord], Interval | None], bool], ...] = (
    ("preference accuracy", lambda run: _Estimates(run).pairs("accuracy"), True),
    ("margin", lambda run: _Estimates(run).pairs("margin"), False),
    ("log loss, nats", lambda run: _Estimates(run).pairs("log_loss"), False),
    ("expected calibration error", lambda run: _Estimates(run).pairs("calibration"), False),
    ("KL to the reference, nats", lambda run: _Estimates(run).samples("kl"), False),
    ("entropy, nats per token", lambda run: _Estimates(run).samples("entropy"), False),
    ("length of samples, tokens", lambda run: _Estimates(run).samples("length"), False),
    ("win rate", lambda run: _Estimates(run).win_rate("rate"), True),
    ("win rate at equal length", lambda run: _Estimates(run).win_rate("length_controlled"), True),
    ("score by the judge", lambda run: _Estimates(run).win_rate("score"), False),
)


def compare_runs(folders: Sequence[str | Path]) -> str:
    """The page of several runs.

    Raises:
        OutputError: a folder is not there, or not of a run.
        ConfigError: a run is named twice, or its settings cannot be read.
        DataError: a file in a folder is damaged.
    """
    paths = [Path(folder) for folder in folders]
    twice = [path for place, path in enumerate(paths) if path.resolve() in [one.resolve() for one in paths[:place]]]
    if twice:
        raise ConfigError([f"{twice[0]}: is named twice. Name each run once."])
    runs = [RunRecord.read(path) for path in paths]
    labels = labels_of(runs)
    colours = [RUN_COLOURS[place % len(RUN_COLOURS)] for place in range(len(runs))]
    return render(
        "comparison.html.jinja",
        runs=list(zip(runs, labels, colours, [lead_of(run) for run in runs], strict=True)),
        colours=colours,
        labels=labels,
        notes=list(notes_on(runs, labels)),
        settings=differing_settings(runs, labels),
        metrics=metric_rows(runs, labels),
        evaluation=evaluation_rows(runs, labels),
        pictures=list(_pictures(runs, colours)),
        texts=compared_texts(runs),
    )


def _pictures(runs: Sequence[RunRecord], colours: Sequence[str]) -> Iterator[Picture]:
    for panel in panels_of([log for run in runs for log in run.logs]):
        for curve in _chosen(panel, runs):
            series = [run.series(curve.metric) for run in runs]
            metric = find_metric(curve.metric)
            shares_panel = len({one.metric.removeprefix(HELD_OUT) for one in panel.curves}) > 1
            title = metric.title if shares_panel and metric is not None else panel.title
            title = title[:1].upper() + title[1:]
            figure = overlaid_figure(panel, title, curve, series, colours)
            about = f"{_part_of(curve)} {panel.about}".strip()
            yield Picture.of(panel.name, title, about, figure)


def _chosen(panel: Panel, runs: Sequence[RunRecord]) -> list[Curve]:
    logged = [curve for curve in panel.curves if any(run.series(curve.metric) for run in runs)]
    held_out = [curve for curve in logged if curve.is_held_out]
    return held_out or logged


def _part_of(curve: Curve) -> str:
    if not curve.is_held_out:
        return "Training."
    metric = find_metric(curve.metric)
    return "" if metric is not None and metric.is_of_samples else "Held out."
