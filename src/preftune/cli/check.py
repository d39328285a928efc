"""`preftune check`: problems of preference data, found before training."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from preftune.cli.console import main_console, quiet_libraries
from preftune.cli.options import (
    Place,
    RowSource,
    chosen_data,
    chosen_section,
    given_values,
    output_flags,
    row_source,
    section_flags,
    setting_flags,
    source_flags,
)
from preftune.data.quality.check import CheckSettings, DataFinding
from preftune.data.quality.checks import CHECKS, chosen_checks
from preftune.data.quality.report import DATA_SEVERITIES, QualityReport
from preftune.data.quality.run import TokenCounter, check_groups, prompt_keys
from preftune.data.rows import DataRow
from preftune.errors import ConfigError
from preftune.files.outputs import check_output, saving
from preftune.files.terminal import PlainConsole
from preftune.findings import Severity
from preftune.settings import ModelSettings, build_section
from preftune.settings.data_commands import CheckChoice, CheckResult
from preftune.settings.setting import settings_for

if TYPE_CHECKING:
    from preftune.evaluation.label_check import LabelCheck

_FAILED = 1


@click.command("check")
@click.argument("data", nargs=-1, type=Place())
@click.option("--list", "list_checks", is_flag=True, panel=CheckChoice.title, help="List the checks and exit.")
@click.pass_context
def command(context: click.RichContext, /, **values: Any) -> None:
    """Check preference data for problems before training.

    preftune check prefs.jsonl --tokenizer gpt2 --max-length 1024 --html report.html

    Reads the same data as training, needs no model, and does not keep texts in memory. With --model RUN it also
    estimates the share of flipped labels and lists the most likely ones. Exit codes: 0: no finding reaches --fail-on;
    1: a finding does; 2: the data or the options cannot be used.
    """
    if values["list_checks"]:
        show_checks(main_console())
        return
    order = _ordered(context, values)
    result = order.result
    with quiet_libraries(verbose=values["verbose"]):
        notes: list[str] = []
        report = _report(order, notes.append)
        labels = _labels(order)
        _write(report, labels, result)
    if result.json != "-":
        show_report(main_console(), report, notes)
        if labels is not None:
            main_console().print(labels.table())
    if result.fail_on != "never" and report.fails(result.fail_on):
        context.exit(_FAILED)


_DATA_HELP = {
    "eval_data": "Held-out data; report prompts that are in both.",
    "max_length": "Maximum length of prompt + completion, in tokens. Default: no limit.",
}
_CHAT = settings_for("check", ModelSettings)
_argument, _list_switch = command.params
command.params = [
    _argument,
    *source_flags("check", _DATA_HELP),
    *section_flags(CheckChoice),
    _list_switch,
    *setting_flags(_CHAT, panel=CheckChoice.title),
    *section_flags(CheckResult),
    *output_flags(),
]


@dataclass(frozen=True, slots=True)
class _Order:
    """A call of the command. `tokenizer` is None where lengths are in words."""

    source: RowSource
    held_out: RowSource | None
    max_length: int | None
    choice: CheckChoice
    result: CheckResult
    tokenizer: ModelSettings | None

    @property
    def inputs(self) -> tuple[str, ...]:
        return (*self.source.sources, *(self.held_out.sources if self.held_out is not None else ()))


def _ordered(context: click.Context, values: Mapping[str, Any]) -> _Order:
    problems: list[str] = []
    data = chosen_data(context, values["data"], problems)
    chat = given_values(context, [item.name for item in _CHAT])
    choice = chosen_section(context, CheckChoice, problems)
    result = chosen_section(context, CheckResult, problems)
    problems += _problems(values, chat)
    tokenizer = None
    if choice is not None and choice.tokenizer is not None:
        tokenizer = build_section(ModelSettings, {"model": choice.tokenizer, **chat}, problems)
    if problems or data is None or choice is None or result is None:
        raise ConfigError(problems)
    source = row_source(data)
    held_out = replace(source, sources=tuple(data.eval_data), split=None) if data.eval_data else None
    order = _Order(source, held_out, data.max_length, choice, result, tokenizer)
    for option, name in {"json": result.json, "html": result.html}.items():
        if name not in (None, "-"):
            check_output(option, Path(name), inputs=order.inputs, overwrite=result.overwrite)
    return order


def _problems(values: Mapping[str, Any], chat: Mapping[str, Any]) -> Iterator[str]:
    if values["tokenizer"] is None:
        for name, value in {"max_length": values["max_length"], **chat}.items():
            if value is not None:
                yield f"{name} = {value}: says nothing without a tokenizer. Name one with --tokenizer, or leave it out."
    if values["model"] is not None and values["where"]:
        yield "where and model: labels are judged in all rows, without conditions. Leave out one of them."
    try:
        chosen_checks(values["only"], values["skip"])
    except ConfigError as error:
        yield from error.problems


def _report(order: _Order, tell: Callable[[str], None]) -> QualityReport:
    settings = CheckSettings(seed=order.choice.seed, max_length=order.max_length)
    count_tokens: TokenCounter | None = None
    if order.tokenizer is not None:
        count_tokens, special = _tokenizer(order.tokenizer)
        settings = replace(settings, special_tokens=special)
    if order.held_out is not None:
        settings = replace(settings, held_out=prompt_keys(order.held_out.read("Reading held-out prompts")))
    passes = chain([("Checking", tell)], repeat(("Fetching examples", None)))

    def read() -> Iterator[DataRow]:
        description, tell_notes = next(passes)
        return order.source.read(description, tell=tell_notes)

    return check_groups(
        read,
        settings=settings,
        count_tokens=count_tokens,
        only=order.choice.only,
        skip=order.choice.skip,
        with_texts=order.result.examples,
    )


def _labels(order: _Order) -> "LabelCheck | None":
    """The labels that a model contradicts, or None without a model."""
    if order.choice.model is None:
        return None

    from preftune.evaluation.label_check import check_labels

    source = order.source
    return check_labels(
        order.choice.model,
        source.sources,
        split=source.split,
        format=source.format,
        columns=source.columns,
        with_texts=order.result.examples,
        console=PlainConsole(stderr=True),
    )


def _tokenizer(settings: ModelSettings) -> tuple[TokenCounter, tuple[str, ...]]:
    from preftune.model.load.load_model import load_tokenizer

    tokenizer = load_tokenizer(settings)
    from preftune.data.quality.run import special_tokens, token_counter

    return token_counter(tokenizer, settings.chat_choice), special_tokens(tokenizer)


def _write(report: QualityReport, labels: "LabelCheck | None", result: CheckResult) -> None:
    content = report.as_dict() if labels is None else {**report.as_dict(), "labels": labels.as_dict()}
    text = json.dumps(content, indent=2, ensure_ascii=False)
    if result.json == "-":
        click.echo(text)
    elif result.json is not None:
        with saving(Path(result.json)) as [file]:
            file.write(text + "\n")
    if result.html is not None:
        from preftune.report.check_page import check_page

        with saving(Path(result.html)) as [file]:
            file.write(check_page(report))


_STYLES: Mapping[Severity, str] = {"error": "bold red", "warning": "bold yellow", "note": "dim"}
_NUM_PLACES, _NUM_TEXTS = 3, 2


def show_checks(console: Console) -> None:
    """List the checks and what each looks for."""
    table = Table("check", "looks for", "needs", box=None, header_style="bold")
    for name, check in CHECKS.items():
        table.add_row(Text(name, style="bold"), Text(check.about), Text(check.needs or ""))
    console.print(table)


def show_report(console: Console, report: QualityReport, notes: Sequence[str] = ()) -> None:
    """Show the findings as a table, then excerpts of what is bad, then notes and the number of findings."""
    table = Table(expand=True, show_lines=True)
    table.add_column("severity", width=len("severity"))
    table.add_column("finding", ratio=3)
    table.add_column("count", justify="right")
    table.add_column("share", justify="right")
    is_single = len(report.sources) == 1
    table.add_column("first rows" if is_single else "first places", ratio=1, overflow="fold")
    for finding in report.findings:
        table.add_row(*_row(finding), Text(_places(finding, is_single=is_single)))
    if report.findings:
        console.print(table)
    for finding in report.findings:
        _show_texts(console, finding)
    for note in notes:
        _say(console, note)
    for name, lack in report.skipped.items():
        _say(console, f"not checked: {name} ({lack})", style="dim")
    _say(console, _summary(report), style="bold")


def _row(finding: DataFinding) -> tuple[Text, Text, Text, Text]:
    what = Text(finding.title, style="" if finding.severity == "note" else "bold")
    if finding.advice:
        what.append(f"\n{finding.advice}", style="not bold")
    return (
        Text(finding.severity, style=_STYLES[finding.severity]),
        what,
        Text(f"{finding.count:,}"),
        Text(f"{100 * finding.share:.1f} %"),
    )


def _places(finding: DataFinding, *, is_single: bool) -> str:
    """Rows alone where all are of one source, else with the name of the file."""
    origins = [example.origin for example in finding.examples[:_NUM_PLACES]]
    places = [str(origin.row) if is_single else str(origin).rpartition("/")[2] for origin in origins]
    return (", " if is_single else "\n").join([*places, *(["..."] if finding.num_rows > len(places) > 0 else [])])


def _show_texts(console: Console, finding: DataFinding) -> None:
    shown = [example for example in finding.examples if example.text][:_NUM_TEXTS]
    if finding.severity == "note" or not shown:
        return
    _say(console, f"{finding.rule}: {finding.title}", style="bold")
    for example in shown:
        note = f" ({example.note})" if example.note else ""
        console.print(Padding(Text("\n  ".join([f"{example.origin}{note}", *example.text.split("\n")])), (0, 0, 0, 2)))
    console.print()


def _summary(report: QualityReport) -> str:
    counts = [
        f"{report.num_of(severity)} {severity}{'s' * (report.num_of(severity) != 1)}" for severity in DATA_SEVERITIES
    ]
    return f"{report.num_rows:,} rows in {report.seconds:.1f} s: {', '.join(counts)}"


def _say(console: Console, text: str, style: str | None = None) -> None:
    console.print(text, style=style, highlight=False, markup=False, soft_wrap=True)
