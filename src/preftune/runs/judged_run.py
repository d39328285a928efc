"""A run with all that its settings ask for, a judge of its samples among them."""

from collections.abc import Sequence

from rich.console import Console

from preftune.runs.judged_samples import sample_measures
from preftune.runs.result import RunResult
from preftune.runs.run import train as train_with
from preftune.settings import TrainConfig
from preftune.training.measure import Measure

__all__ = ["train"]


def train(config: TrainConfig, *, console: Console | None = None, measures: Sequence[Measure] = ()) -> RunResult:
    """Tune a model as `config` says, and write model, metrics and settings into its output folder.

    Args:
        config: The settings of the run.
        console: Where progress goes; default: nowhere.
        measures: What else is measured of the policy at every evaluation.
    Returns:
        The numbers of the run, also in `summary.json`.
    Raises:
        PreftuneError: anything that a user can put right: settings, data, model, judge, output folder, disk.
    """
    return train_with(config, console=console, measures=measures, sample_measures=sample_measures(config))
