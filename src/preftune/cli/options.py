"""Command line options made of settings and of loss options, those of all commands, and the rows they select."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar, get_args, get_origin

import rich_click as click
from click.core import ParameterSource
from rich.console import Console
from typing_extensions import override

from preftune.cli.console import ask_for_traceback
from preftune.data.load import iter_groups
from preftune.data.progress import track
from preftune.data.rows import DataRow
from preftune.data.text_files import data_suffix, open_bytes
from preftune.files.number_text import value_text
from preftune.losses import ALL_LOSSES, Option, loss_options, losses_of
from preftune.settings import DataSettings, ModelSettings, Setting, build_section, settings_of
from preftune.settings.config import expanded, names_of
from preftune.settings.setting import Command, Section, settings_for

_Chosen = TypeVar("_Chosen", bound=Section)


class Number(click.ParamType[Any]):
    """A number, or the given text: the config checks it, so that all problems are reported at once."""

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
    """One of some words, or the given text: the config checks it, so that all problems are reported at once."""

    name = "choice"

    @override
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return str(value)


class Place(click.ParamType[str]):
    """A file or folder, or something that may be one: `~` is expanded, which shells leave in `--option=~/...`."""

    name = "text"

    @override
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return str(expanded(value))


def setting_flags(settings: Iterable[Setting], panel: str) -> list[click.RichOption]:
    """An option per setting under one heading of the help: `--flag/--no-flag` for a bool, repeatable for a list."""
    return [_flag(setting, panel) for setting in settings]


def loss_option_flags(panel: str, method: str | None = None) -> list[click.RichOption]:
    """An option per keyword argument of the losses.

    All are accepted, so that the config can report an option that the method does not take.

    Args:
        method: Method whose options the help shows, with its own texts and defaults; None to show none.
    Raises:
        ConfigError: There is no such method.
    """
    kinds = {option.name: option for loss in ALL_LOSSES.values() for option in loss_options(loss)}
    shown = {} if method is None else _method_options(method)
    own = [
        _option_flag(next(iter(by_part.values())), help=_option_help(by_part), panel=panel)
        for by_part in shown.values()
    ]
    hidden = [_option_flag(option, hidden=True) for name, option in kinds.items() if name not in shown]
    return [*own, *hidden]


def _method_options(method: str) -> dict[str, dict[str, Option]]:
    """Options of a method by name, then by the part of the sum that takes them."""
    found: dict[str, dict[str, Option]] = {}
    for part, loss in losses_of(method).items():
        for option in loss_options(loss):
            found.setdefault(option.name, {})[part] = option
    return found


def _option_help(by_part: Mapping[str, Option]) -> str:
    """Text and default of an option; of each part where they differ."""
    texts: dict[str, list[str]] = {}
    for part, option in by_part.items():
        texts.setdefault(f"{option.help} [default: {value_text(option.default)}]", []).append(part)
    if len(texts) == 1:
        return next(iter(texts))
    return " ".join(f"{', '.join(parts)}: {text}" for text, parts in texts.items())


def _option_flag(option: Option, **shared: Any) -> click.RichOption:
    flag = f"--{option.name.replace('_', '-')}"
    if option.kind is bool:
        return click.RichOption([f"{flag}/--no-{flag.removeprefix('--')}", option.name], default=None, **shared)
    kind = Word(option.choices) if option.choices else Number(float)
    return click.RichOption([flag, option.name], type=kind, **shared)


def given_values(context: click.Context, names: Iterable[str]) -> dict[str, Any]:
    """The values that the user gave, by name, without defaults."""
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
        return click.RichOption(
            [setting.flag, setting.name], metavar=_MAPPING_METAVARS[get_args(setting.type)[1]], **shared
        )
    return click.RichOption(
        [setting.flag, setting.name],
        metavar=setting.metavar,
        type=_param_type(setting),
        multiple=is_list,
        default=None if setting.default in (MISSING, []) else setting.default,
        show_default=True,
        **shared,
    )


_MAPPING_METAVARS: Mapping[Any, str] = {str: "NAME=COLUMN,...", float: "NAME=NUMBER,...", Any: "JSON"}
"""Placeholder of a mapping by the type of its values."""


def _notes(setting: Setting) -> dict[str, bool]:
    """Notes that the help adds to a setting's text, and whether each applies."""
    return {
        "May be repeated.": get_origin(setting.type) is list,
        "Required.": setting.default is MISSING,
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


_MODEL_DEFAULTS: Mapping[str, Any] = {"weights_dtype": "auto"}
"""Defaults of commands that only load a model."""

_MODEL_HELP: Mapping[str, str] = {
    "model": "The model: hub id, local folder, or folder of a run or adapter.",
    "weights_dtype": "Data type of the weights; auto: as saved.",
}


def model_flags(command: Command, help_: Mapping[str, str] = _MODEL_HELP) -> list[click.RichOption]:
    """Options for the model settings that a command takes."""
    settings = settings_for(command, ModelSettings, help=help_, defaults=_MODEL_DEFAULTS)
    return setting_flags(settings, panel=ModelSettings.title)


def chosen_model(
    context: click.Context, problems: list[str], kept: Mapping[str, Any] = MappingProxyType({})
) -> ModelSettings | None:
    """The model settings that the user gave, or None. Messages about what cannot work are added to `problems`.

    Args:
        kept: Settings by name that the model was trained with, which are the defaults.
    """
    names = [setting.name for setting in settings_of(ModelSettings) if setting.name in context.params]
    built = build_section(ModelSettings, {**_MODEL_DEFAULTS, **kept, **given_values(context, names)}, problems)
    assert built is None or isinstance(built, ModelSettings)
    return built


def output_flags() -> list[click.RichOption]:
    """`--verbose`, which is passed on, and `--traceback`, which is not."""
    return [
        click.RichOption(
            ["--verbose"],
            is_flag=True,
            help="Show progress bars, warnings and logs of other libraries.",
        ),
        click.RichOption(
            ["--traceback"],
            is_flag=True,
            envvar="PREFTUNE_TRACEBACK",
            show_envvar=True,
            is_eager=True,
            expose_value=False,
            callback=ask_for_traceback,
            help="Show the traceback of an error.",
        ),
    ]


def source_flags(command: Command, help_: Mapping[str, str] = {}) -> list[click.RichOption]:
    """Options for the data settings that a command takes, as in training."""
    items = [item for item in settings_for(command, DataSettings, help=help_) if item.name != "data"]
    return setting_flags(items, panel=DataSettings.title)


def section_flags(*sections: type[Section]) -> list[click.RichOption]:
    """An option per setting of some sections, each section under its title in the help."""
    return [flag for section in sections for flag in setting_flags(settings_of(section), panel=section.title)]


def chosen_section(context: click.Context, section: type[_Chosen], problems: list[str]) -> _Chosen | None:
    """The settings of a section that the user gave, or None. Messages about what cannot work go to `problems`."""
    built = build_section(section, given_values(context, names_of([section])), problems)
    assert built is None or isinstance(built, section)
    return built


def chosen_data(context: click.Context, sources: Sequence[str], problems: list[str]) -> DataSettings | None:
    """The data settings that the user gave, or None. Messages about what cannot work are added to `problems`."""
    if not sources:
        problems.append("data: is not given. Name at least one file, folder or data set.")
    names = [item.name for item in settings_of(DataSettings) if item.name in context.params]
    given = {**given_values(context, names), "data": list(sources) or ["-"]}
    built = build_section(DataSettings, given, problems)
    assert built is None or isinstance(built, DataSettings)
    return built if sources else None


_BY_LINE = (".jsonl", ".ndjson", ".csv", ".tsv")
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class RowSource:
    """Rows that can be read several times.

    Args:
        sources: Files, folders or data sets of the hub.
        split, format, columns, where: As in `iter_groups`.
    """

    sources: Sequence[str]
    split: str | None = None
    format: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    where: Sequence[str] = ()

    def read(self, description: str = "", *, tell: Callable[[str], None] | None = None) -> Iterator[DataRow]:
        """Groups, and in their place the rows that give none.

        Args:
            description: Label of the progress bar on a terminal; no bar if empty.
            tell: Called at the end with each note on how columns were read.
        """
        stream = iter_groups(
            self.sources, split=self.split, format=self.format, columns=self.columns or None, where=self.where
        )
        shows = bool(description) and Console(stderr=True).is_terminal
        yield from track(stream, description, total=self._num_lines() if shows else None, show=shows)
        if tell is not None:
            for note in stream.notes:
                tell(note)

    def _num_lines(self) -> int | None:
        """Lines of the sources, where all are text files with a row per line; about as many as rows."""
        paths = [Path(source).expanduser() for source in self.sources]
        if not all(path.is_file() and data_suffix(path) in _BY_LINE for path in paths):
            return None
        try:
            return sum(map(_count_lines, paths))
        except Exception:  # reading the file gives a better error
            return None


def _count_lines(path: Path) -> int:
    with open_bytes(path) as stream:
        return sum(block.count(b"\n") for block in iter(lambda: stream.read(_BLOCK_BYTES), b""))


def row_source(data: DataSettings) -> RowSource:
    """The rows of some data settings."""
    return RowSource(tuple(data.data), data.split, data.format, dict(data.columns), tuple(data.where))
