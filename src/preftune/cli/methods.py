"""`preftune methods`: the methods of training."""

import json
import re
from pathlib import Path
from textwrap import indent
from typing import Any

import rich_click as click
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from preftune.cli.console import main_console
from preftune.cli.options import Place, output_flags
from preftune.errors import ConfigError, OutputError
from preftune.files.number_text import value_text
from preftune.losses import ALL_LOSSES, Loss, Option, find_loss, loss_options
from preftune.losses.options import option_texts, range_text
from preftune.losses.table import losses_by_title
from preftune.losses.texts import FEEDBACK_TEXTS, abilities, loss_text, needs


@click.command("methods")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--page", type=Place(), metavar="FILE", help="Write a Markdown reference of all methods to FILE.")
def command(name: str | None, as_json: bool, page: str | None, verbose: bool) -> None:  # noqa: ARG001
    """List the methods of `preftune train --method`, or describe the method NAME."""
    if page is not None:
        _write_page(page, name, as_json=as_json)
    elif as_json:
        found: Any = [_as_dict(method, loss) for method, loss in ALL_LOSSES.items()]
        click.echo(json.dumps(_as_dict(name, find_loss(name)) if name else found, indent=2, ensure_ascii=False))
    elif name:
        _show_method(name, find_loss(name), main_console())
    else:
        _list_methods(main_console())


command.params += output_flags()


def _write_page(page: str, name: str | None, *, as_json: bool) -> None:
    from preftune.report.losses_page import losses_page

    if name or as_json:
        raise ConfigError(["page: always holds all methods, in Markdown. Leave out NAME and --json."])
    try:
        Path(page).write_text(losses_page(), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"page = {page}: cannot be written ({error.strerror}). Name another file.") from None
    main_console().print(f"{page}: {len(ALL_LOSSES)} methods", highlight=False, markup=False, soft_wrap=True)


def _as_dict(name: str, loss: Loss) -> dict[str, Any]:
    text = loss_text(loss)
    return {
        "name": name,
        "summary": text.summary,
        "formula": text.formula,
        "use": text.use,
        "feedback": loss.feedback,
        "takes": loss.takes,
        "needs_reference": loss.needs_reference,
        "mean_over": loss.unit,
        "options": [_option_as_dict(option) for option in loss_options(loss)],
        "source": text.source,
        "differs": text.differs,
    }


def _option_as_dict(option: Option) -> dict[str, Any]:
    values = list(option.choices) or option.kind.__name__
    return {"name": option.name, "default": option.default, "values": values, "help": option.help}


# --- the list -----------------------------------------------------------------------------------------------------


def _list_methods(console: Console) -> None:
    rows = [_row(name, loss) for name, loss in ALL_LOSSES.items()]
    method, _, _, paper = (max(map(len, column)) for column in zip(*rows, strict=True))
    for title, losses in losses_by_title().items():
        table = Table(title=title, title_justify="left", title_style="bold", box=None, expand=True)
        table.add_column("method", style="bold", width=method)
        table.add_column("needs", width=len("reference,"))
        table.add_column("options", ratio=1)
        table.add_column("paper", width=paper)
        for name, loss in losses.items():
            table.add_row(*_row(name, loss))
        if losses:
            console.print(table)
            console.print()
    _say(console, "`preftune methods NAME` describes a method. Weighted sums of methods are methods, too:")
    _say(console, "  preftune train --method '0.8*dpo + 0.2*bco_pair + preferred_ft' ...")


def _row(name: str, loss: Loss) -> tuple[Text, ...]:
    wanted = {"reference": loss.needs_reference, "margins": loss.needs("margins")}
    texts = (name, ", ".join(word for word, is_so in wanted.items() if is_so), ", ".join(option_texts(loss)))
    return (*(Text(text) for text in texts), _linked(loss.source))


# --- one method ---------------------------------------------------------------------------------------------------


def _show_method(name: str, loss: Loss, console: Console) -> None:
    text = loss_text(loss)
    console.print(Text.assemble((name, "bold"), "  ", text.summary))
    _say(console, "\n" + indent(text.formula, "  "), style="cyan")
    blocks = {
        "Use": Text("\n".join(part for part in (text.use, *text.notes) if part)),
        "Learns from": Text(FEEDBACK_TEXTS[loss.feedback]),
        "Needs": Text("; ".join(needs(loss))),
        "Supports": Text("; ".join(abilities(loss))),
        "Options": _options(loss),
        "Inputs": _given(loss),
        "Returns": Text(text.returns),
        "Source": _linked(text.source),
        "Differs": _linked(text.differs),
    }
    for heading, block in blocks.items():
        if block:
            console.print()
            console.print(Text(heading, style="bold"))
            console.print(Padding(block, (0, 0, 0, 2)))
    console.print(Text("\nExample", style="bold"))
    _say(console, indent(text.example, "  "))


def _options(loss: Loss) -> Table | None:
    table = Table(box=None, pad_edge=False, show_header=False)
    for option in loss_options(loss):
        flag = f"--{option.name.replace('_', '-')}"
        flag = f"{flag}/--no-{flag.removeprefix('--')}" if option.kind is bool else flag
        text = f"{option.help} [{range_text(option)}; default: {value_text(option.default)}]"
        table.add_row(Text(flag, style="bold", no_wrap=True), Text(text))
    return table if loss_options(loss) else None


def _given(loss: Loss) -> Table:
    options = {option.name for option in loss_options(loss)}
    table = Table(box=None, pad_edge=False, show_header=False)
    for names, text in loss_text(loss).arguments.items():
        if not options.intersection(names.split(", ")):
            table.add_row(Text(names, no_wrap=True), Text(text))
    return table


def _linked(text: str) -> Text:
    """The text; papers are links if the terminal supports them."""
    linked = Text(text)
    for paper in re.finditer(r"arXiv:(\d{4}\.\d{4,5})", text):
        linked.stylize(f"link https://arxiv.org/abs/{paper[1]}", *paper.span())
    return linked


def _say(console: Console, text: str, style: str | None = None) -> None:
    """Print a text without wrapping, at any console width."""
    console.print(text, style=style, highlight=False, markup=False, soft_wrap=True)
