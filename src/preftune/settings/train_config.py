"""Settings of a run, all checked at once."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from typing_extensions import Unpack

from preftune.errors import ConfigError
from preftune.files.run_files import CONFIG_START
from preftune.losses import ALL_LOSSES, Method, Option, OptionValue, loss_options, losses_of
from preftune.settings.choice import ChoiceSettings, DrawSettings
from preftune.settings.config import (
    build_sections,
    coerce,
    for_caller,
    read_settings,
    shown,
    unknown_settings,
    yaml_line,
)
from preftune.settings.data import DataSettings
from preftune.settings.keywords import TrainKeywords
from preftune.settings.sections import (
    AdapterSettings,
    HealthSettings,
    ModelSettings,
    OptimizerSettings,
    OutputSettings,
    StepSettings,
)
from preftune.settings.setting import Section, Setting, settings_of

SECTIONS: Mapping[str, type[Section]] = {
    "model": ModelSettings,
    "data": DataSettings,
    "steps": StepSettings,
    "optimizer": OptimizerSettings,
    "adapter": AdapterSettings,
    "output": OutputSettings,
    "samples": DrawSettings,
    "choice": ChoiceSettings,
    "health": HealthSettings,
}
"""The sections by topic, in the order of help texts and files. Names of settings are unique over all sections."""

SETTINGS: Mapping[str, Setting] = {item.name: item for section in SECTIONS.values() for item in settings_of(section)}
"""Every setting of a run, by name. Options of methods are not among them: each changes the result."""

_LONGEST_METHOD = 1_000


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """The settings of a run. Files, flags and Python calls are flat: names and values without sections.

    >>> config = TrainConfig.of(method="dpo", beta=0.5, model="gpt2", data="prefs.jsonl", output="run")
    >>> config.method.options["beta"], config.learning_rate
    (0.5, 1e-06)
    """

    method: Method
    model: ModelSettings
    data: DataSettings
    steps: StepSettings
    optimizer: OptimizerSettings
    adapter: AdapterSettings
    output: OutputSettings
    samples: DrawSettings
    choice: ChoiceSettings
    health: HealthSettings

    @staticmethod
    def of(method: str = "dpo", **settings: Unpack[TrainKeywords]) -> "TrainConfig":
        """The config of some settings: those of all sections and the options of the method, by name.

        Raises:
            ConfigError: Everything that cannot work, all at once.
        """
        problems: list[str] = []
        bound = _bind_method(method, settings, problems)
        if bound is not None and bound.needs("rewards"):
            settings = {"eval_samples": 0, **settings}
        known = {*SETTINGS, *_all_options(), *_options_among(settings)}
        problems += unknown_settings(settings, known, command="train")
        sections = build_sections(SECTIONS, settings, problems)
        if bound is not None:
            problems += _misfits(bound, sections)
        if problems or bound is None or None in sections.values():
            raise ConfigError([for_caller(problem) for problem in problems])
        return TrainConfig(method=bound, **sections)

    @staticmethod
    def read(path: str | Path, **overrides: Unpack[TrainKeywords]) -> "TrainConfig":
        """The config in a YAML file; `overrides` replace its settings.

        Raises:
            ConfigError: The file cannot be read, is not YAML, or holds settings that cannot work.
        """
        return TrainConfig.of(**{**read_settings(path), **overrides})

    def flat(self) -> dict[str, Any]:
        """All settings by name, as `of` takes them."""
        learning = (self.model, self.data, self.steps, self.optimizer, self.adapter)
        sections = (*learning, self.output, self.samples, self.choice, self.health)
        settings = {name: value for section in sections for name, value in asdict(section).items()}
        return {"method": self.method.name, **self.method.options, **settings}

    def to_yaml(self) -> str:
        """The config as a commented YAML file that `read` takes."""
        flat = self.flat()
        lines = [CONFIG_START.strip(), yaml_line("method", self.method.name)]
        lines += [yaml_line(name, value) for name, value in self.method.options.items()]
        for section in SECTIONS.values():
            lines += ["", f"# {section.title}"]
            lines += [yaml_line(item.name, flat[item.name]) for item in settings_of(section)]
        return "\n".join(lines) + "\n"

    @property
    def learning_rate(self) -> float:
        """Peak learning rate: the setting, or the default for the kind of method, ten times that with an adapter."""
        if self.optimizer.learning_rate is not None:
            return self.optimizer.learning_rate
        if self.method.needs("rewards"):
            default = 1e-5
        else:
            default = 2e-5 if self.method.feedback == "demonstrations" else 1e-6
        return 10 * default if self.adapter.lora else default


def _bind_method(name: object, settings: Mapping[str, Any], problems: list[str]) -> Method | None:
    """The method with its options. An option that only other methods take is a problem."""
    if not isinstance(name, str) or len(name) > _LONGEST_METHOD:
        problems.append(f"method = {shown(name)}: must be text, such as dpo or 0.8*dpo + 0.2*bco_pair.")
        return None
    try:
        own = {option.name: option for loss in losses_of(name).values() for option in loss_options(loss)}
        given = {key: settings[key] for key in _options_among(settings) if settings[key] is not None}
        return Method.named(name, {key: _option_value(key, value, own) for key, value in given.items()})
    except ConfigError as error:
        problems += error.problems
    return None


def _options_among(names: Iterable[str]) -> list[str]:
    """The names of options of a loss, each alone or after the name of a loss and a dot."""
    known = _all_options()
    return [name for name in names if name.rpartition(".")[2] in known]


def _option_value(name: str, value: Any, own: Mapping[str, Option]) -> OptionValue:
    """The value in the type of its option. Other values stay as they are, and the method refuses them."""
    option = own.get(name.rpartition(".")[2])
    try:
        return value if option is None else coerce(value, option.kind)  # type: ignore[no-any-return]
    except ValueError:
        return value  # type: ignore[no-any-return]


@cache
def _all_options() -> frozenset[str]:
    return frozenset(option.name for loss in ALL_LOSSES.values() for option in loss_options(loss))


def _misfits(method: Method, sections: Mapping[str, Any]) -> Iterator[str]:
    """Messages about sections that do not fit the method or each other; sections with own problems are skipped."""
    data, model, adapter = (sections[topic] for topic in ("data", "model", "adapter"))
    if data is not None:
        yield from data.problems_with(method)
    if model is not None:
        yield from model.problems_with(method, lora=adapter is not None and adapter.lora)
    choice, output, draws = (sections[topic] for topic in ("choice", "output", "samples"))
    if None not in (data, draws):
        yield from draws.problems_with(method, data)
    if None not in (choice, data, output, draws):
        yield from choice.problems_with(method, data, output, draws)
