"""`preftune clean`: remove rows from preference data by rules."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import rich_click as click

from preftune.cli.console import main_console, quiet_libraries
from preftune.cli.options import (
    Place,
    RowSource,
    chosen_data,
    chosen_section,
    output_flags,
    row_source,
    section_flags,
    source_flags,
)
from preftune.data.quality.cleaning import Decision, decide
from preftune.data.quality.facts import facts_of
from preftune.data.quality.keys import Places
from preftune.data.quality.row_table import RowTable, RowTableBuilder
from preftune.data.quality.run import check_groups
from preftune.data.rows import BadRow, LeftOut, Row
from preftune.data.sources import read_rows
from preftune.errors import ConfigError, DataError
from preftune.files.json_files import json_text
from preftune.files.outputs import check_output, saving
from preftune.groups import PromptGroup
from preftune.settings.data_commands import CleaningRules, RowsFile

_SLOW_CHECKS = ("shortcuts", "near-duplicates")


@click.command("clean")
@click.argument("data", nargs=-1, type=Place())
@click.pass_context
def command(context: click.RichContext, /, **values: Any) -> None:
    """Write preference data without the rows that given rules remove.

    preftune clean prefs.jsonl --output clean.jsonl --dedupe --drop-ties 0

    Rules are applied in the order below. Kept rows and the input file do not change. FILE.jsonl.log.jsonl lists each
    removed row with its line number and the reason. Without a rule, the command lists the rules that `preftune check`
    recommends.
    """
    problems: list[str] = []
    data = chosen_data(context, values["data"], problems)
    rules = chosen_section(context, CleaningRules, problems)
    is_asked = rules is None or not rules.is_empty
    file = chosen_section(context, RowsFile, problems) if is_asked or values["output"] else None
    if problems or rules is None or data is None:
        raise ConfigError(problems)
    source = row_source(data)
    with quiet_libraries(verbose=values["verbose"]):
        if rules.is_empty or file is None:
            raise ConfigError([_recommended(source)])
        log = file.path.with_name(f"{file.path.name}.log.jsonl")
        for path in (file.path, log):
            check_output("output", path, inputs=source.sources, overwrite=file.overwrite)
        _clean(source, rules, file.path, log)


command.params = [*command.params, *source_flags("clean"), *section_flags(CleaningRules, RowsFile), *output_flags()]


def _recommended(source: RowSource) -> str:
    """Message of a call without a rule, with the rules that the checks recommend."""
    report = check_groups(lambda: source.read("Checking"), skip=_SLOW_CHECKS, with_texts=False)
    advised = [f"  {finding.remedy}: {finding.title}" for finding in report.findings if finding.remedy]
    if not advised:
        return (
            "no rule is chosen, and `preftune check` recommends none for these data. `preftune clean --help` lists all."
        )
    return "\n".join(
        ["no rule is chosen, so there is nothing to do. `preftune check` recommends for these data:", *advised]
    )


def _clean(source: RowSource, rules: CleaningRules, output: Path, log: Path) -> None:
    found = survey(source, drop_unusable=rules.drop_unusable, drop_identical=rules.drop_identical)
    decision = decide(found.table, rules)
    num_dropped = len(found.unusable) + int((decision.rules >= 0).sum())
    if num_dropped == found.table.num_rows + len(found.unusable) and not found.passed_over:
        raise DataError(f"all {num_dropped:,} rows would be left out, so nothing is written. Choose fewer rules.")
    with saving(output, log) as [rows_file, log_file]:
        num_kept = write_kept(source, found, decision, rows_file, log_file)
    counts = dict.fromkeys((rule for rule, _ in found.unusable.values()), 0) | dict(decision.counts)
    for rule, _ in found.unusable.values():
        counts[rule] += 1
    console = main_console()
    for rule, count in counts.items():
        console.print(f"{rule}: {count:,} rows left out", highlight=False, markup=False, soft_wrap=True)
    console.print(f"{output}: {num_kept:,} rows", highlight=False, markup=False, soft_wrap=True)
    console.print(f"{log}: {num_dropped:,} rows left out and why", highlight=False, markup=False, soft_wrap=True)


@dataclass(frozen=True, slots=True)
class Survey:
    """Facts about the rows that the rules need.

    Args:
        table: The rows that can be used.
        places: Numbers of all rows.
        unusable: Rule and reason for each unusable row that is removed, by place.
        passed_over: Places of rows that the format leaves out; they stay as they are.
    """

    table: RowTable
    places: Places
    unusable: dict[int, tuple[str, str]]
    passed_over: frozenset[int]


def survey(source: RowSource, *, drop_unusable: bool, drop_identical: bool) -> Survey:
    """Read all rows once.

    Raises:
        DataError: an unusable row that no rule removes.
    """
    builder, places = RowTableBuilder(), Places()
    unusable: dict[int, tuple[str, str]] = {}
    passed_over: set[int] = set()
    for row in source.read("Reading"):
        place = places.of(row.origin)
        if isinstance(row, PromptGroup):
            builder.add(facts_of(row, place))
        elif isinstance(row, LeftOut):
            passed_over.add(place)
        elif row.fault == "equal" and drop_identical:
            unusable[place] = ("drop-identical", row.problem)
        elif drop_unusable:
            unusable[place] = ("drop-unusable", row.problem)
        else:
            raise _unasked(row)
    return Survey(builder.table(), places, unusable, frozenset(passed_over))


def _unasked(row: BadRow) -> DataError:
    flag = "--drop-identical" if row.fault == "equal" else "--drop-unusable"
    return DataError(f"{row.origin}: {row.problem} Correct the row, or leave such rows out with {flag}.")


def write_kept(source: RowSource, found: Survey, decision: Decision, rows: IO[str], log: IO[str]) -> int:
    """Read all rows again: write those that stay, and log the place of each other row and the reason.

    Args:
        rows: File for the rows that stay, as JSON Lines.
        log: File for a JSON object with `place`, `rule` and `reason` of each other row.
    Returns:
        Number of rows that stay.
    Raises:
        DataError: the data have changed, or several rows make up one record.
    """
    num_kept, next_row = 0, 0
    for row in _raw_rows(source):
        place = found.places.of(row.origin)
        why = found.unusable.get(place)
        if why is None and place not in found.passed_over:
            if next_row == found.table.num_rows or place != int(found.table.places[next_row]):
                raise DataError(
                    f"{row.origin}: is not a separate record: in this format several rows make up one, or the file "
                    "has changed while it was read. Convert it with `preftune convert` first, and clean what comes out."
                )
            rule = int(decision.rules[next_row])
            why = None if rule < 0 else decision.reasons[rule]
            next_row += 1
        if why is not None:
            log.write(json_text({"place": str(row.origin), "rule": why[0], "reason": why[1]}) + "\n")
        elif isinstance(row, Row):
            rows.write(json_text(dict(row.fields), default=str) + "\n")
            num_kept += 1
    return num_kept


def _raw_rows(source: RowSource) -> Iterator[Row | BadRow]:
    for name in source.sources:
        yield from read_rows(name, split=source.split)
