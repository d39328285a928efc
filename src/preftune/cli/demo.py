"""`preftune demo`: the whole thing on an embedded default."""

from pathlib import Path

import rich_click as click

from preftune.cli.console import loading, main_console, quiet_libraries
from preftune.cli.options import Place, output_flags


@click.command("demo")
@click.option("--output", type=Place(), default="demo", show_default=True, help="Folder for models, metrics and plots.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Random seed.")
@click.option(
    "--overwrite/--no-overwrite", default=False, help="Replace an earlier demo in the output folder. Default: off."
)
def command(output: str, seed: int, overwrite: bool, verbose: bool) -> None:
    """Run a complete example, offline and in minutes.

    Trains a small model by SFT on synthetic film reviews with a known reward, samples pairs from it, trains it on the
    pairs by DPO, shows both models side by side, and writes a report of each run.
    """
    with loading():
        from preftune.cli.report import leave_report
        from preftune.demo.demo import run_demo
        from preftune.report import draw_curves

    console, folder = main_console(), Path(output)
    with quiet_libraries(verbose=verbose):
        result = run_demo(folder, seed=seed, overwrite=overwrite, console=console)
        console.print(result.tables())
        console.print(
            f"models: {folder / 'sft'}, {folder / 'dpo'}; curves: {folder / 'curves-dpo.png'}", highlight=False
        )
        console.print(f"try: preftune generate --model {folder / 'dpo'} --compare {folder / 'sft'} --prompt '...'")
        for run in ("sft", "dpo"):
            draw_curves(folder / run, folder / f"curves-{run}.png")
            leave_report(folder / run, console)


command.params += output_flags()
