"""`preftune train` and `preftune sft`: a run, its result and the next steps."""

import shlex
from collections.abc import Iterator
from copy import copy
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click
from rich.console import Console
from typing_extensions import override

from preftune.cli.console import INTERRUPTED, SICK, is_main_process, loading, main_console, note_output, quiet_libraries
from preftune.cli.options import given_values, loss_option_flags, output_flags, setting_flags
from preftune.errors import ConfigError, TrainingError
from preftune.files.run_files import CONFIG, METRICS
from preftune.losses import REWARD_LOSSES
from preftune.settings import SECTIONS, SETTINGS, TrainConfig, read_settings, settings_of

if TYPE_CHECKING:
    from preftune.report.run_record import RunRecord
    from preftune.runs.result import RunResult
    from preftune.runs.verdict import Verdict

_METHOD, _FILE = "Method", "Config file"


class TuningCommand(click.RichCommand):
    """A command whose help shows the options of the method that `--method` names, and of no other."""

    @override
    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        named = _named_method(args)
        if named is None or not {"-h", "--help"}.intersection(args):
            return super().make_context(info_name, args, parent, **extra)
        own = copy(self)
        others = [param for param in self.params if param.name not in {flag.name for flag in method_flags()}]
        own.params = [*method_flags(named, default=named), *others]
        return click.RichCommand.make_context(own, info_name, args, parent, **extra)


def _named_method(args: list[str]) -> str | None:
    """The value of `--method`, or None.

    >>> _named_method(["--method", "ipo", "--help"]), _named_method(["--method=ipo"]), _named_method(["--help"])
    ('ipo', 'ipo', None)
    """
    for arg, following in zip_longest(args, args[1:]):
        if arg == "--method":
            return following
        if arg.startswith("--method="):
            return arg.removeprefix("--method=")
    return None


def tuning_command(
    name: str, help_: str, *, method: str | None = None, trains_rewards: bool = False
) -> click.RichCommand:
    """A command with an option per setting of a run and per option of a loss.

    Args:
        method: The only method it trains by, or None if `--method` names it.
        trains_rewards: It trains reward models: the method is one of theirs, and the help leaves out samples.
    """
    default = "bradley_terry" if trains_rewards else "dpo"
    own = method_flags(default=default) if method is None else loss_option_flags(_METHOD)
    flags = [*own, *_file_flags()]
    for topic, section in SECTIONS.items():
        items = [item for item in settings_of(section) if method is None or not item.for_preferences]
        of_section = setting_flags(items, panel=section.title)
        for flag in of_section:
            flag.hidden |= trains_rewards and topic == "samples"
        flags += of_section
    hidden = [item for item in SETTINGS.values() if method is not None and item.for_preferences]
    for flag in setting_flags(hidden, panel=_METHOD):
        flag.hidden = True
        flags.append(flag)

    @click.pass_context
    def run(context: click.RichContext, /, *, config: str | None, print_config: bool, verbose: bool, **_: Any) -> None:
        names = [flag.name for flag in flags if flag.name and flag.name not in ("config", "print_config")]
        given = given_values(context, names)
        resolved = _resolve(config, given, method, default=default)
        if trains_rewards and not resolved.method.needs("rewards"):
            raise ConfigError(
                [
                    f"method = {resolved.method.name}: trains no reward model. `preftune reward` trains by "
                    f"{', '.join(REWARD_LOSSES)}. Name one of them, or use `preftune train`."
                ]
            )
        if print_config:
            click.echo(resolved.to_yaml(), nl=False)
            return
        with quiet_libraries(verbose=verbose):
            _train(resolved, main_console(), context)

    return TuningCommand(name=name, callback=run, params=[*flags, *output_flags()], help=help_)


def method_flags(method: str | None = None, *, default: str = "dpo") -> list[click.RichOption]:
    """`--method`, and the options of all losses. Help shows the options of `method` only.

    Args:
        default: The method if the option is not given.
    Raises:
        ConfigError: There is no such method.
    """
    choice = click.RichOption(
        ["--method"],
        metavar="NAME",
        default=default,
        show_default=True,
        help="Method, or weighted sum of methods such as '0.8*dpo + 0.2*ipo'. `preftune methods` lists all; `preftune "
        "train --method NAME --help` shows the options of one.",
        panel=_METHOD,
    )
    return [choice, *loss_option_flags(_METHOD, method)]


def _file_flags() -> list[click.RichOption]:
    return [
        click.RichOption(
            ["--config"],
            metavar="FILE",
            help="YAML file of settings, such as the config.yaml of a run. Flags override it.",
            panel=_FILE,
        ),
        click.RichOption(["--print-config"], is_flag=True, help="Print all settings as YAML and exit.", panel=_FILE),
    ]


def _resolve(file: str | None, given: dict[str, Any], method: str | None, *, default: str) -> TrainConfig:
    settings = read_settings(file) if file is not None else {}
    if method is not None:
        in_file = settings.get("method", method)
        if in_file != method:
            raise ConfigError(
                [
                    f"{file}: method = {in_file}: `preftune {method}` trains by {method} only. "
                    f"Use `preftune train --config {file}`."
                ]
            )
        settings["method"] = method
    return TrainConfig.of(**{"method": default, **settings, **given})


def _train(config: TrainConfig, console: Console, context: click.Context) -> None:
    with loading():
        from accelerate import PartialState

        from preftune.cli.report import leave_report
        from preftune.runs.run import train

    folder = Path(config.output.output)
    note_output(context, config.output.output)
    try:
        result = train(config, console=console)
    except TrainingError:
        if is_main_process() and (folder / METRICS).is_file():
            leave_report(folder, console)
        raise
    if PartialState().num_processes > 1:
        PartialState().destroy_process_group()
    if is_main_process():
        console.print(result.table())
        if result.verdict is not None:
            say_verdict(result.verdict, console)
        for line in _last_lines(config, result, console):
            console.print(line, highlight=False, markup=False, soft_wrap=True)
    if result.stopped_early or result.stopped_sick:
        context.exit(INTERRUPTED if result.stopped_early else SICK)


def _last_lines(config: TrainConfig, result: "RunResult", console: Console) -> Iterator[str]:
    """The next steps. The report is written first, unless a signal stopped the run: it should end at once."""
    from preftune.cli.report import leave_report

    if result.stopped_early:
        return _how_to_resume(config, "The run was stopped before its end. To resume it:")
    with console.status("writing the report"):
        report = leave_report(Path(config.output.output), console)
    if result.stopped_sick:
        return _how_to_resume(config, "The run is sick and was stopped. To continue it anyway:", sick=True)
    return _what_next(config, None if report is None else report.run)


_TONES = {"good": "bold green", "neutral": "bold", "warning": "bold yellow", "error": "bold red"}


def say_verdict(verdict: "Verdict", console: Console) -> None:
    """Print a verdict; its first line in the colour of its tone."""
    for place, line in enumerate(verdict.lines()):
        style = _TONES[verdict.tone] if place == 0 else None
        console.print(line, style=style, highlight=False, markup=False, soft_wrap=True)


def _how_to_resume(config: TrainConfig, what: str, *, sick: bool = False) -> Iterator[str]:
    file = shlex.quote(str(Path(config.output.output) / CONFIG))
    yield what
    yield f"  preftune train --config {file} --resume" + (" --no-stop-on-sick" if sick else "")
    if not sick:
        yield f"Its report so far: preftune report {shlex.quote(config.output.output)}"


def _what_next(config: TrainConfig, run: "RunRecord | None") -> Iterator[str]:
    from preftune.report.verdict import further_evaluation

    model, base = shlex.quote(config.output.output), shlex.quote(config.model.model)
    yield "Next:"
    if config.method.needs("rewards"):
        yield f"  preftune eval --model MODEL --data DATA --samples 1 --judge reward:{model}"
        return
    yield f"  preftune generate --model {model} --compare {base} --prompt '...'"
    evaluation = None if run is None else further_evaluation(run)
    if evaluation is not None:
        yield f"  {evaluation}"
    if config.method.feedback == "demonstrations":
        yield f"  preftune train --model {model} --data PAIRS --output ..."
    if config.adapter.lora:
        yield f"  preftune merge --model {model} --output {shlex.quote(config.output.output + '-merged')}"


command = tuning_command(
    "train",
    """Fine-tune a model on preference data, by any method.

    preftune train --model MODEL --data prefs.jsonl --output run

    All settings can be given in a YAML file, by the names of the flags with _ for -. Every run writes config.yaml into
    its output folder, which repeats the run.
    """,
)


reward_command = tuning_command(
    "reward",
    """Train a reward model on pairs or lists.

    preftune reward --model MODEL --data prefs.jsonl --output reward

    MODEL is a language model, whose head is replaced by one output, or a reward model. The folder is a sequence
    classifier of transformers, and a judge: --judge reward:FOLDER. `--method plackett_luce_rewards` learns from lists.
    """,
    trains_rewards=True,
)


sft_command = tuning_command(
    "sft",
    """Fine-tune a model on completions (supervised fine-tuning).

    preftune sft --model MODEL --data demonstrations.jsonl --output run

    Preference data can be used, too: the chosen completions are imitated. Only completions are learned, not prompts.
    """,
    method="sft",
)
