"""`preftune convert`: convert preference data from one format to another."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import rich_click as click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from preftune.cli.console import main_console, quiet_libraries
from preftune.cli.options import (
    Place,
    chosen_data,
    chosen_section,
    output_flags,
    section_flags,
    setting_flags,
    source_flags,
)
from preftune.data.convert import Columns, Conversion, Converter
from preftune.data.load import GroupStream, iter_groups
from preftune.data.views import PairRule
from preftune.errors import ConfigError, DataError
from preftune.files.json_files import json_text
from preftune.files.outputs import check_output, saving
from preftune.settings import DataSettings, ModelSettings
from preftune.settings.data_commands import ConversionSettings, RowsFile
from preftune.settings.setting import settings_for


@click.command("convert")
@click.argument("data", nargs=-1, type=Place(), metavar="DATA...")
@click.pass_context
def command(context: click.RichContext, /, **values: Any) -> None:
    """Convert preference data from one format to another.

    preftune convert hh --to trl-preference --output hh.jsonl

    preftune convert lists.jsonl --to pairs --pairing best_vs_worst --output pairs.jsonl

    DATA are files, folders, presets or hub ids, as for `preftune train --data`; `preftune formats` lists formats and
    presets. The input is never changed; the output file is written atomically. Columns that the output format does
    not have, such as an id, are dropped.
    """
    settings, converter, file = _checked(context, values)
    check_output("output", file.path, inputs=settings.data, overwrite=file.overwrite)
    console, conversion = main_console(), Conversion()
    with quiet_libraries(verbose=values["verbose"]):
        stream = iter_groups(
            settings.data,
            split=settings.split,
            format=settings.format,
            columns=settings.columns,
            extra_scores=converter.extra_scores,
            where=settings.where,
            show_progress=console.is_terminal and not console.quiet,
        )
        with saving(file.path) as (lines,):
            for row in converter.rows(stream, conversion):
                lines.write(_line(row, stream))
    _show(console, file.path, stream, conversion)


_CHAT_HELP = {"chat": "Text as turns of a user and an assistant; auto: if --to is messages."}
command.params = [
    *command.params,
    *source_flags("convert"),
    *setting_flags(settings_for("convert", ModelSettings, help=_CHAT_HELP), panel=DataSettings.title),
    *section_flags(ConversionSettings, RowsFile),
    *output_flags(),
]


def _checked(context: click.Context, values: Mapping[str, Any]) -> tuple[DataSettings, Converter, RowsFile]:
    problems: list[str] = []
    settings = chosen_data(context, values["data"], problems)
    conversion = chosen_section(context, ConversionSettings, problems)
    file = chosen_section(context, RowsFile, problems)
    converter: Converter | None = None
    if settings is not None and conversion is not None:
        rule = PairRule(settings.pairing, settings.min_score_gap)
        skips = settings.on_bad_row == "skip"
        try:
            converter = Converter(conversion.to, rule, conversion.score, skips_bad_rows=skips, chat=values["chat"])
        except ConfigError as error:
            problems += error.problems
    if problems or settings is None or converter is None or file is None:
        raise ConfigError(problems)
    return settings, converter, file


def _line(row: Columns, stream: GroupStream) -> str:
    try:
        return f"{json_text(row)}\n"
    except TypeError as error:
        raise DataError(
            f"row {stream.num_rows:,} of the data holds in a message what JSON cannot: {error}. Leave the row out."
        ) from error


def _show(console: Console, output: Path, stream: GroupStream, conversion: Conversion) -> None:
    table = Table(title=Text(str(output)), title_justify="left", title_style="bold", show_header=False)
    table.add_column(justify="right")
    table.add_column(overflow="fold")
    table.add_row(f"{stream.num_rows:,}", "rows read")
    if conversion.num_groups != stream.num_rows:
        table.add_row(f"{conversion.num_groups:,}", "prompts in them")
    table.add_row(f"{conversion.num_written:,}", "rows written", style="bold")
    if conversion.left_out:
        table.add_section()
    for reason, count in conversion.left_out.items():
        places = conversion.places[reason]
        more = ", ..." if count > len(places) else ""
        where = ", ".join(map(str, dict.fromkeys(places)))
        table.add_row(f"{count:,}", Text(f"left out, {reason}: {where}{more}"))
    console.print(table)
    for note in stream.notes:
        console.print(Text(note))
