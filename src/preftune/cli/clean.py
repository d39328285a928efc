"""`preftune clean`: the data without rows that chosen rules leave out, in a new file."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import rich_click as click

from preftune.cli.cleaned_rows import survey, write_kept
from preftune.cli.noise import quiet_libraries
from preftune.cli.output_files import check_output, saving
from preftune.cli.output_options import output_flags
from preftune.cli.processes import main_console
from preftune.cli.row_source import RowSource
from preftune.cli.source_options import chosen_source, source_flags
from preftune.data.quality import check_groups
from preftune.data.quality.cleaning import CleaningRules, decide
from preftune.errors import ConfigError, DataError

__all__ = ["command"]

_RULES, _RESULT = "Rules", "Result"
_SLOW_CHECKS = ("shortcuts", "near-duplicates")


@click.command("clean")
@click.argument("data", nargs=-1)
@click.option("--drop-unusable", is_flag=True, panel=_RULES, help="Leave out rows that training cannot use.")
@click.option("--drop-identical", is_flag=True, panel=_RULES, help="... whose chosen and rejected are the same.")
@click.option("--dedupe", is_flag=True, panel=_RULES, help="... that repeat an earlier row.")
@click.option("--drop-ties", type=float, metavar="GAP", panel=_RULES, help="... whose margin is GAP or less; 0: ties.")
@click.option(
    "--resolve-contradictions",
    type=click.Choice(["majority"]),
    panel=_RULES,
    help="... that judge two completions unlike most rows do; where as many say so as not, all of these.",
)
@click.option("--cap-per-prompt", type=int, metavar="N", panel=_RULES, help="... beyond N of one prompt, drawn.")
@click.option(
    "--balance-length",
    is_flag=True,
    panel=_RULES,
    help="... drawn so that the longer completion is chosen as often as the shorter, whatever the difference.",
)
@click.option("--seed", type=int, default=0, show_default=True, panel=_RULES, help="Of the rows that are drawn.")
@click.option("--output", metavar="FILE.jsonl", panel=_RESULT, help="The new file. Must be given.")
@click.option("--overwrite/--no-overwrite", default=False, panel=_RESULT, help="Replace that file. Default: off.")
def command(**values: Any) -> None:
    """Write preference data without the rows that chosen rules leave out.

    preftune clean prefs.jsonl --output clean.jsonl --dedupe --drop-ties 0

    The rules are applied in the order below. Rows that stay are not changed, the file that is read never is, and
    FILE.jsonl.log.jsonl says of each row that was left out where it is and why. Without a rule it says which ones
    `preftune check` recommends.
    """
    problems: list[str] = []
    source = chosen_source(values["data"], values, problems)
    rules = _rules(values, problems)
    if problems or rules is None:
        raise ConfigError(problems)
    with quiet_libraries(verbose=values["verbose"]):
        if not _any_rule(values):
            raise ConfigError([_recommended(source)])
        if not values["output"]:
            raise ConfigError(["output: is not given. Name the new file with --output."])
        output = Path(values["output"])
        log = output.with_name(f"{output.name}.log.jsonl")
        for path in (output, log):
            check_output("output", path, inputs=source.sources, overwrite=values["overwrite"])
        _clean(source, rules, output, log, drop_unusable=values["drop_unusable"])


command.params = [*source_flags(), *command.params, *output_flags()]


def _rules(values: dict[str, Any], problems: list[str]) -> CleaningRules | None:
    names = ("drop_identical", "dedupe", "drop_ties", "resolve_contradictions", "cap_per_prompt", "balance_length")
    if values["output"] and Path(values["output"]).suffix != ".jsonl":
        problems.append(f"output = {values['output']}: rows are written as JSON Lines. Give it the ending .jsonl.")
    try:
        return CleaningRules(seed=values["seed"], **{name: values[name] for name in names})
    except ConfigError as error:
        problems.extend(error.problems)
        return None


def _any_rule(values: dict[str, Any]) -> bool:
    switches = ("drop_unusable", "drop_identical", "dedupe", "balance_length")
    others = ("drop_ties", "resolve_contradictions", "cap_per_prompt")
    return any(values[name] for name in switches) or any(values[name] is not None for name in others)


def _recommended(source: RowSource) -> str:
    """What is wrong without a rule, and what could be asked for."""
    report = check_groups(lambda: source.read("Checking"), skip=_SLOW_CHECKS, with_texts=False)
    advised = [f"  {flag}: {finding.title}" for finding in report.findings for flag in _flags(finding.advice)]
    if not advised:
        return (
            "no rule is chosen, and `preftune check` recommends none for these data. `preftune clean --help` lists all."
        )
    return "\n".join(
        ["no rule is chosen, so there is nothing to do. `preftune check` recommends for these data:", *advised]
    )


def _flags(advice: str) -> Iterator[str]:
    """Options of this command that an advice names.

    >>> list(_flags("Leave them out: `preftune clean --drop-ties 0`."))
    ['--drop-ties 0']
    """
    return (found[1] for found in re.finditer(r"`preftune clean (--[^`]+)`", advice))


def _clean(source: RowSource, rules: CleaningRules, output: Path, log: Path, *, drop_unusable: bool) -> None:
    found = survey(source, drop_unusable=drop_unusable, drop_identical=rules.drop_identical)
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
