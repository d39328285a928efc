"""`preftune`: the group of all subcommands."""

from importlib import import_module
from typing import Any

import rich_click as click
from typing_extensions import override

from preftune import __version__
from preftune.cli.console import ReportingGroup

__all__ = ["LazyCommand", "main", "preftune"]


class LazyCommand(click.RichCommand):
    """A subcommand that is imported when it is called, so that `preftune --help` waits for no heavy library.

    Args:
        name: Name of the subcommand.
        target: Its module, or MODULE:NAME for a command that is not called `command` there.
        help_: One line for the help of the group.
    """

    def __init__(self, name: str, target: str, help_: str) -> None:
        super().__init__(name=name, help=help_)
        self._target = target

    @override
    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        module, _, name = self._target.partition(":")
        command: click.RichCommand = getattr(import_module(module), name or "command")
        return command.make_context(info_name, args, parent, **extra)


@click.group(cls=ReportingGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.rich_config({"text_paragraph_linebreaks": "\n\n", "padding_helptext_first_line": (0, 0, 1, 0)})
@click.version_option(__version__, prog_name="preftune")
def preftune() -> None:
    """Preference tuning for language models: SFT, then DPO, straight from preference data.

    New here? `preftune demo` shows the whole thing in minutes. `preftune COMMAND --help` tells the options.
    """


for _command in (
    LazyCommand(
        "demo", "preftune.cli.demo", "See the whole thing work on a small world: SFT, pairs, DPO, before/after."
    ),
    LazyCommand("check", "preftune.cli.check", "Find out what is wrong with preference data before training."),
    LazyCommand("clean", "preftune.cli.clean", "Write data without the rows that chosen rules leave out."),
    LazyCommand("sft", "preftune.cli.train:sft_command", "Tune a model to imitate completions (SFT)."),
    LazyCommand("train", "preftune.cli.train", "Tune a model by any method on preference data."),
    LazyCommand("methods", "preftune.cli.methods", "List the methods to train by, or tell all about one."),
    LazyCommand("convert", "preftune.cli.convert", "Write data of any layout as a file of another."),
    LazyCommand("formats", "preftune.cli.formats", "List the layouts of data, and public data sets by a short name."),
    LazyCommand("generate", "preftune.cli.generate", "Let a model continue prompts, beside another one if you like."),
    LazyCommand("sweep", "preftune.cli.sweep", "Train at several settings, and find out which to take."),
    LazyCommand("eval", "preftune.cli.eval", "Evaluate a model: preferences, KL to its reference, win rate."),
    LazyCommand("report", "preftune.cli.report", "Show what became of a run, or of several, on one page."),
    LazyCommand("merge", "preftune.cli.merge", "Write an adapter and its base model as one model."),
    LazyCommand("cache", "preftune.cli.cache", "Show or clear the reference log-probs that are kept from run to run."),
):
    preftune.add_command(_command)


def main() -> None:
    """Run the command line of this process."""
    preftune(prog_name="preftune")
