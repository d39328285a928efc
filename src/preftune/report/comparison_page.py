"""Several runs on one page: one HTML file that asks for nothing else."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from preftune.errors import ConfigError
from preftune.metrics.catalogue import HELD_OUT, find_metric
from preftune.report.colours import RUN_COLOURS
from preftune.report.comparison import (
    compared_texts,
    differing_settings,
    evaluation_rows,
    labels_of,
    metric_rows,
    notes_on,
)
from preftune.report.curves import overlaid_figure
from preftune.report.panels import Curve, Panel, panels_of
from preftune.report.plots import Picture
from preftune.report.run_record import RunRecord
from preftune.report.templates import render
from preftune.report.verdict import verdict_of

__all__ = ["compare_runs"]


def compare_runs(folders: Sequence[str | Path]) -> str:
    """The page that sets runs side by side.

    Args:
        folders: Those of at least two runs.
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
        runs=list(zip(runs, labels, colours, [verdict_of(run) for run in runs], strict=True)),
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
    """A picture for each metric that a run has logged; of one that is held out as well, the held-out one alone."""
    for panel in panels_of([log for run in runs for log in run.logs]):
        for curve in _chosen(panel, runs):
            series = [run.series(curve.metric) for run in runs]
            name = curve.metric.removeprefix(HELD_OUT)
            title = panel.title if len(panel.curves) <= 2 else name
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
