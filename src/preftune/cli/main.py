"""`preftune`: the group of all subcommands."""

from importlib import import_module
from typing import Any

import rich_click as click
from typing_extensions import override

from preftune import __version__
from preftune.cli.console import ReportingGroup, loading, note_output
from preftune.files.terminal import accept_any_text


class LazyCommand(click.RichCommand):
    """A subcommand that is imported when it is called, so that `preftune --help` waits for no heavy library.

    Args:
        target: Its module, or MODULE:NAME for a command that is not called `command` there.
    """

    def __init__(self, name: str, target: str, help_: str) -> None:
        super().__init__(name=name, help=help_)
        self._target = target

    @override
    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        module, _, name = self._target.partition(":")
        with loading():
            command: click.RichCommand = getattr(import_module(module), name or "command")
        context = command.make_context(info_name, args, parent, **extra)
        note_output(context, context.params.get("output"))
        return context


@click.group(cls=ReportingGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.rich_config({"text_paragraph_linebreaks": "\n\n", "padding_helptext_first_line": (0, 0, 1, 0)})
@click.version_option(__version__, prog_name="preftune")
def preftune() -> None:
    """Preference tuning for language models: SFT, then DPO, straight from preference data.

    New here? `preftune demo` shows a complete run in minutes. `preftune COMMAND --help` lists the options of a command.
    """


for _command in (
    LazyCommand("demo", "preftune.cli.demo", "Run SFT and DPO on a small synthetic task and compare before and after."),
    LazyCommand("check", "preftune.cli.check", "Check preference data for problems before training."),
    LazyCommand("clean", "preftune.cli.clean", "Write preference data without the rows that given rules remove."),
    LazyCommand("sft", "preftune.cli.train:sft_command", "Fine-tune a model on completions (SFT)."),
    LazyCommand("train", "preftune.cli.train", "Fine-tune a model on preference data, by any method."),
    LazyCommand("reward", "preftune.cli.train:reward_command", "Train a reward model on preference data."),
    LazyCommand("methods", "preftune.cli.methods", "List the training methods, or describe one."),
    LazyCommand("convert", "preftune.cli.convert", "Convert preference data from one format to another."),
    LazyCommand("formats", "preftune.cli.formats", "List the data formats and the presets for public data sets."),
    LazyCommand(
        "generate", "preftune.cli.generate", "Generate completions, optionally next to those of another model."
    ),
    LazyCommand("sweep", "preftune.cli.sweep", "Train with several settings and recommend the best."),
    LazyCommand("eval", "preftune.cli.eval", "Evaluate a model: preferences, KL to its reference, win rate."),
    LazyCommand("report", "preftune.cli.report", "Write an HTML report of one run or several."),
    LazyCommand("merge", "preftune.cli.merge", "Merge an adapter into its base model."),
    LazyCommand("cache", "preftune.cli.cache", "Show or clear the cache of reference log-probs."),
):
    preftune.add_command(_command)


def main() -> None:
    """Run the command line of this process."""
    accept_any_text()
    preftune(prog_name="preftune")
