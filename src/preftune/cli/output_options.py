"""Options that every subcommand has."""

import rich_click as click

from preftune.cli.failures import ask_for_traceback

__all__ = ["output_flags"]


def output_flags() -> list[click.RichOption]:
    """`--verbose`, which is passed on, and `--traceback`, which is not."""
    return [
        click.RichOption(
            ["--verbose"],
            is_flag=True,
            help="Show progress bars, warnings and logs of the libraries underneath.",
        ),
        click.RichOption(
            ["--traceback"],
            is_flag=True,
            envvar="PREFTUNE_TRACEBACK",
            show_envvar=True,
            is_eager=True,
            expose_value=False,
            callback=ask_for_traceback,
            help="Show where in the code an error comes from.",
        ),
    ]
