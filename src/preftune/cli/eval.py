"""`preftune eval`: evaluate a model against its reference."""

from pathlib import Path
from typing import Any

import rich_click as click

from preftune.cli.console import loading, main_console, quiet_libraries
from preftune.cli.options import given_values, output_flags, setting_flags
from preftune.files.run_files import is_run
from preftune.settings import DataSettings, ModelSettings, settings_of
from preftune.settings.evaluation_config import DATA, MODEL, SECTIONS, EvaluationConfig


@click.command("eval")
@click.pass_context
def command(context: click.RichContext, /, verbose: bool, **_: Any) -> None:
    """Evaluate a model: preferences on held-out data, KL to its reference, win rate with a judge.

    preftune eval --model run

    preftune eval --model run --data held-out.jsonl --samples 2 --judge openai:MODEL --against chosen

    Every estimate has a confidence interval; docs/evaluation.md explains each. The result is also written as JSON; for
    a run, into its folder, and its report is updated. Verdicts and samples are saved as they arrive, so an interrupted
    evaluation resumes and no verdict is paid for twice.
    """
    config = EvaluationConfig.of(**given_values(context, [flag.name for flag in _FLAGS if flag.name]))
    with quiet_libraries(verbose=verbose):
        with loading():
            from preftune.evaluation.evaluate import evaluate
            from preftune.evaluation.result import tables_of

        console = main_console()
        result = evaluate(config, console=console)
        for table in tables_of(result):
            console.print(table)
        if config.result_file is not None:
            console.print(f"result: {config.result_file}", highlight=False, markup=False, soft_wrap=True)
        if _is_of_run(config):
            from preftune.cli.report import leave_report

            leave_report(Path(config.model.model), console)


def _is_of_run(config: EvaluationConfig) -> bool:
    """True if the result is in the folder of a run, whose report shows it. Checkpoints have no report."""
    folder = Path(config.model.model)
    return config.run is not None and config.result.json is None and is_run(folder)


_FLAGS = [
    *setting_flags(MODEL, panel=ModelSettings.title),
    *setting_flags(DATA, panel=DataSettings.title),
    *(flag for section in SECTIONS.values() for flag in setting_flags(settings_of(section), panel=section.title)),
]
command.params = [*_FLAGS, *output_flags()]
