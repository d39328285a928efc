"""Command line options: made of settings and of options of losses, and those that all commands have."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING
from typing import Any, get_args, get_origin

import rich_click as click
from click.core import ParameterSource
from typing_extensions import override

from preftune.cli.console import ask_for_traceback
from preftune.cli.row_source import RowSource
from preftune.losses import LOSSES, Option, loss_options
from preftune.losses.options import value_text
from preftune.settings import ModelSettings, Setting, build_section, settings_of
from preftune.settings.setting import Command, settings_for

__all__ = [
    "Word",
    "chosen_model",
    "chosen_source",
    "given_values",
    "loss_option_flags",
    "model_flags",
    "output_flags",
    "setting_flags",
    "source_flags",
]


class Number(click.ParamType[Any]):
    """A number, or the text as it stands: the config checks it, so that all problems are told at once."""

    def __init__(self, kind: type[int] | type[float]) -> None:
        self.name = "integer" if kind is int else "number"
        self._kind = kind

    @override
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return self._kind(value)
        except ValueError:
            return value


class Word(click.Choice[str]):
    """One of some words, or the text as it stands: the config checks it, so that all problems are told at once."""

    name = "choice"

    @override
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return str(value)


def setting_flags(settings: Iterable[Setting], panel: str) -> list[click.RichOption]:
    """An option per setting: `--flag/--no-flag` for a truth value, repeatable for a list.

    Args:
        settings: What can be set.
        panel: Title under which the help shows them.
    """
    return [_flag(setting, panel) for setting in settings]


def loss_option_flags(panel: str, *, hidden: bool = False) -> list[click.RichOption]:
    """An option per keyword argument of the losses; those of one name are one, whose help names the methods.

    Args:
        panel: Title under which the help shows them.
        hidden: Whether help leaves them out; they are taken all the same, so that the config can tell what is wrong.
    """
    kinds = {option.name: option for loss in LOSSES.values() for option in loss_options(loss)}
    return [
        _option_flag(kinds[name], help=text, panel=panel, hidden=hidden) for name, text in _loss_option_texts().items()
    ]


def _option_flag(option: Option, **shared: Any) -> click.RichOption:
    flag = f"--{option.name.replace('_', '-')}"
    if option.kind is bool:
        return click.RichOption([f"{flag}/--no-{flag.removeprefix('--')}", option.name], default=None, **shared)
    kind = Word(option.choices) if option.choices else Number(float)
    return click.RichOption([flag, option.name], type=kind, **shared)


def given_values(context: click.Context, names: Iterable[str]) -> dict[str, Any]:
    """The values that the user gave, by name; not defaults."""
    given = (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT)
    values = {name: context.params[name] for name in names if context.get_parameter_source(name) in given}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def _flag(setting: Setting, panel: str) -> click.RichOption:
    is_list = get_origin(setting.type) is list
    notes = [note for note, holds in _notes(setting).items() if holds]
    shared: dict[str, Any] = {"help": " ".join([setting.help, *notes]), "panel": panel}
    if setting.type is bool:
        flag = f"{setting.flag}/--no-{setting.flag.removeprefix('--')}"
        return click.RichOption([flag, setting.name], default=setting.default, **shared)
    if get_origin(setting.type) is Mapping:
        value = "NUMBER" if get_args(setting.type)[1] is float else "COLUMN"
        return click.RichOption([setting.flag, setting.name], metavar=f"NAME={value},...", **shared)
    return click.RichOption(
        [setting.flag, setting.name],
        type=_param_type(setting),
        multiple=is_list,
        default=None if setting.default in (MISSING, []) else setting.default,
        show_default=True,
        **shared,
    )


def _notes(setting: Setting) -> dict[str, bool]:
    """What the help says beside the setting's own text, and whether it does."""
    return {
        "May be repeated.": get_origin(setting.type) is list,
        "Must be given.": setting.default is MISSING,
        "Default: on.": setting.default is True,
        "Default: off.": setting.default is False,
    }


def _param_type(setting: Setting) -> click.ParamType[Any]:
    if setting.choices:
        return Word(setting.choices)
    kinds = get_args(setting.type) or (setting.type,)
    for kind in (int, float):
        if kind in kinds:
            return Number(kind)
    return click.STRING


def _loss_option_texts() -> dict[str, str]:
    """Help per option: what it is in short, once for methods that begin to say the same, and their defaults."""
    texts: dict[str, dict[str, dict[str, list[str]]]] = {}
    for method, loss in LOSSES.items():
        for option in loss_options(loss):
            by_default = texts.setdefault(option.name, {}).setdefault(_gist(option.help), {})
            by_default.setdefault(value_text(option.default), []).append(method)
    return {name: " ".join(_sentences(by_gist)) for name, by_gist in texts.items()}


def _sentences(by_gist: Mapping[str, Mapping[str, list[str]]]) -> Iterator[str]:
    for gist, by_default in by_gist.items():
        defaults = "; ".join(f"{default}: {', '.join(methods)}" for default, methods in by_default.items())
        yield f"{gist} ({defaults})."


def _gist(text: str) -> str:
    """The beginning of a text, up to its first comma or the like.

    >>> _gist("Probability that a label is flipped, in [0, 0.5).")
    'Probability that a label is flipped'
    """
    return re.split(r"[,.;:](?: |$)", text, maxsplit=1)[0]


_MODEL_DEFAULTS: Mapping[str, Any] = {"weights_dtype": "auto"}
"""Where these commands differ from training."""

_MODEL_HELP: Mapping[str, str] = {
    "model": "The model: hub id, local folder, or folder of a run or adapter.",
    "weights_dtype": "Type that weights are held in; auto: as they were saved.",
}


def model_flags(command: Command, help_: Mapping[str, str] = _MODEL_HELP) -> list[click.RichOption]:
    """Options for the model settings that a command takes."""
    settings = settings_for(command, ModelSettings, help=help_, defaults=_MODEL_DEFAULTS)
    return setting_flags(settings, panel=ModelSettings.title)


def chosen_model(context: click.Context, problems: list[str]) -> ModelSettings | None:
    """The model settings that the user gave; None if they cannot work, and why not in `problems`.

    Args:
        context: Of the command.
        problems: Grows.
    """
    names = [setting.name for setting in settings_of(ModelSettings) if setting.name in context.params]
    built = build_section(ModelSettings, {**_MODEL_DEFAULTS, **given_values(context, names)}, problems)
    assert built is None or isinstance(built, ModelSettings)
    return built


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


_PANEL = "Data"


def source_flags() -> list[click.RichOption]:
    """`--split`, `--format` and `--columns`, which mean what they mean in training."""
    return [
        click.RichOption(
            ["--format"], metavar="NAME", panel=_PANEL, help="Layout of the rows. Default: recognised by the columns."
        ),
        click.RichOption(
            ["--columns"],
            metavar="NAME=COLUMN,...",
            panel=_PANEL,
            help="Names of the columns in the data, such as chosen=better.",
        ),
        click.RichOption(
            ["--split"],
            panel=_PANEL,
            help="Split of a hub data set or saved `datasets` folder, such as train.",
        ),
    ]


def chosen_source(sources: tuple[str, ...], values: Mapping[str, Any], problems: list[str]) -> RowSource:
    """The data that the user named.

    Args:
        sources: Files, folders or data sets of the hub.
        values: Those of `source_flags`, by name; `where`, if the command has it.
        problems: Grows by what cannot work.
    """
    if not sources:
        problems.append("data: is not given. Name at least one file, folder or data set.")
    columns = _columns(values["columns"], problems)
    return RowSource(sources, values["split"], values["format"], columns, values.get("where", ()))


def _columns(text: str | None, problems: list[str]) -> dict[str, str]:
    """Columns by the name that the format knows.

    >>> _columns("chosen=better, rejected=worse", [])
    {'chosen': 'better', 'rejected': 'worse'}
    """
    pairs = [[side.strip() for side in part.split("=", 1)] for part in (text or "").split(",") if part.strip()]
    if not all(len(pair) == 2 and all(pair) for pair in pairs):
        problems.append(f"columns = {text}: must be written as name=column,name=column.")
        return {}
    return dict(pairs)
