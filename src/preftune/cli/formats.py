"""`preftune formats`: data formats and presets for public data sets."""

from collections.abc import Sequence

import rich_click as click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from preftune.cli.console import main_console
from preftune.cli.options import output_flags
from preftune.data.convert import TARGETS
from preftune.data.formats.format import Format
from preftune.data.formats.table import FORMATS
from preftune.data.presets import PRESETS


@click.command("formats")
def command(verbose: bool) -> None:  # noqa: ARG001
    """List the data formats and the presets for public data sets."""
    console = main_console()
    _say(console, "Input formats, detected from the columns or set by --format:", style="bold")
    console.print(_table(("name", "required columns", "content of a row"), [_format_row(known) for known in FORMATS]))
    _say(
        console,
        "\nPresets for public data sets (--data hh, or preset:hh if a file is named hh); read each licence before use:",
        style="bold",
    )
    rows = [
        (name, f"{preset.hub_id} [{preset.split}]", f"{preset.about}. Licence: {preset.licence}")
        for name, preset in PRESETS.items()
    ]
    console.print(_table(("name", "on the hub", "content"), rows))
    _say(console, "\nOutput formats of `preftune convert`:", style="bold")
    console.print(_table(("name", "columns"), [(name, target.about) for name, target in TARGETS.items()]))


command.params += output_flags()


def _format_row(known: Format) -> tuple[str, ...]:
    return known.name, "; or ".join(", ".join(names) for names in known.required), known.about


def _table(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in headings:
        table.add_column(heading, overflow="fold", no_wrap=heading == "name")
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _say(console: Console, text: str, style: str) -> None:
    console.print(text, style=style, highlight=False, markup=False, soft_wrap=True)
