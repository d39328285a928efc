"""`preftune sweep`: train with several settings and recommend the best."""

from collections.abc import Mapping
from typing import Any

import rich_click as click
from rich.console import Console

from preftune.cli.console import INTERRUPTED, loading, main_console, quiet_libraries
from preftune.cli.options import given_values, output_flags, setting_flags
from preftune.cli.report import leave_sweep_reports
from preftune.cli.train import method_flags
from preftune.files.run_files import is_run
from preftune.metrics.catalogue import METRICS, REWARD_AT_KL_BUDGET
from preftune.settings import SECTIONS, read_settings, settings_of
from preftune.settings.space import NOT_SWEPT
from preftune.settings.sweep_config import SweepConfig
from preftune.settings.sweep_sections import EVALUATION, SweepSettings

_FAILED = 1
_BY_JUDGE = {
    "judge": [name for name, metric in METRICS.items() if metric.source == "judge"],
    "kl_budget": [REWARD_AT_KL_BUDGET],
}
"""Settings that training has as well, and the metrics of checkpoint choice that need them there."""


@click.command("sweep")
@click.pass_context
def command(context: click.RichContext, /, config: str | None, verbose: bool, **_: Any) -> None:
    """Train with several settings and recommend the best.

    preftune sweep --model MODEL --data prefs.jsonl --eval-fraction 0.1 --over beta=0.03,0.1,0.3 --output sweep

    preftune sweep --config run/config.yaml --search beta=0.01:1:log --trials 20 --judge openai:MODEL --output sweep

    Every point is a run folder. Reference log-probs are computed once for all points. Each point and checkpoint is
    evaluated by its KL to the reference and its value: win rate, reward or held-out accuracy. Run the same command
    again to resume an interrupted sweep. docs/sweeps.md explains the result.
    """
    given = {part: given_values(context, names) for part, names in _NAMES.items()}
    base = {**(read_settings(config) if config is not None else {}), **given["base"]}
    base |= _for_training(base, {**given["sweep"], **given["evaluation"]})
    settings = SweepConfig.of(base, given["sweep"], given["evaluation"])
    with quiet_libraries(verbose=verbose):
        _run(settings, main_console(), context)


def _run(config: SweepConfig, console: Console, context: click.Context) -> None:
    with loading():
        from preftune.sweep.picture import write_pictures
        from preftune.sweep.run import sweep
        from preftune.sweep.table import summary_lines, tables_of

    result = sweep(config, console=console)
    for table in tables_of(result):
        console.print(table)
    for line in summary_lines(result):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    picture = write_pictures(result)
    files = f"result: {result.file}" + ("" if picture is None else f"; frontier: {picture}")
    console.print(files, highlight=False, markup=False, soft_wrap=True)
    begun = [row.name for row in result.points if is_run(config.folder / row.name)]
    leave_sweep_reports(config.folder, begun, console)
    if result.stopped:
        console.print("The sweep was stopped before its end. The same command continues it.")
        context.exit(INTERRUPTED)
    if result.num_failed == len(result.points):
        console.print(f"No point came to its end. What was said: {config.folder / 'logs'}", highlight=False)
        context.exit(_FAILED)


def _for_training(base: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of the sweep that the choice of checkpoints in its runs needs as well."""
    metric = base.get("metric")
    return {name: given[name] for name, metrics in _BY_JUDGE.items() if metric in metrics and name in given}


_SWEEP = setting_flags(settings_of(SweepSettings), panel=SweepSettings.title)
_EVALUATION = [flag for topic, items in EVALUATION.items() for flag in setting_flags(items, panel=topic)]
_OWN = {flag.name for flag in (*_SWEEP, *_EVALUATION)} | NOT_SWEPT.keys()
"""Settings of training that are not options of a sweep: own ones of the same name, and those it gives each point."""

_BASE = [
    *method_flags(),
    *(
        flag
        for section in SECTIONS.values()
        for flag in setting_flags(settings_of(section), panel=f"Runs: {section.title}")
        if flag.name not in _OWN
    ),
]
_CONFIG = click.RichOption(
    ["--config"],
    metavar="FILE",
    help="YAML file of training settings, such as the config.yaml of a run. Flags override it.",
    panel=SweepSettings.title,
)
_NAMES = {
    "sweep": [flag.name for flag in _SWEEP if flag.name],
    "evaluation": [flag.name for flag in _EVALUATION if flag.name],
    "base": [flag.name for flag in _BASE if flag.name],
}
command.params = [_CONFIG, *_SWEEP, *_EVALUATION, *_BASE, *output_flags()]
