"""Everything that a run depends on, in one place, checked at once."""

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, asdict, dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from preftune.errors import ConfigError
from preftune.losses import LOSSES, Method, Option, OptionValue, loss_options, losses_of
from preftune.settings.choice import ChoiceSettings, DrawSettings
from preftune.settings.data import DataSettings
from preftune.settings.sections import (
    AdapterSettings,
    HealthSettings,
    ModelSettings,
    OptimizerSettings,
    OutputSettings,
    StepSettings,
)
from preftune.settings.setting import Setting, coerce, settings_of

__all__ = ["SECTIONS", "TrainConfig", "build_section", "read_settings"]

SECTIONS: Mapping[str, type] = {
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
"""Topic by topic, in the order of help texts and files. Names of settings are unique over all topics."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """The settings of a run. Files, flags and Python calls are flat: name and value, whatever the topic.

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
    def of(method: str = "dpo", **settings: Any) -> "TrainConfig":
        """The config with `settings`: those of all topics and the options of the method, by name.

        Raises:
            ConfigError: whatever cannot work, all at once.
        """
        problems: list[str] = []
        bound = _bind_method(method, settings, problems)
        problems += _unknown(settings, method)
        sections = {topic: build_section(section, settings, problems) for topic, section in SECTIONS.items()}
        if bound is not None:
            problems += _misfits(bound, sections)
        if problems or bound is None or None in sections.values():
            raise ConfigError(problems)
        return TrainConfig(method=bound, **sections)

    @staticmethod
    def read(path: str | Path, **overrides: Any) -> "TrainConfig":
        """The config in a YAML file, with `overrides` in place of what it says.

        Raises:
            ConfigError: no such file, no YAML, or settings that cannot work.
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
        lines = ["# Method", _line("method", self.method.name)]
        lines += [_line(name, value) for name, value in self.method.options.items()]
        for section in SECTIONS.values():
            lines += ["", f"# {section.__doc__}"]
            lines += [_line(item.name, flat[item.name]) for item in settings_of(section)]
        return "\n".join(lines) + "\n"

    @property
    def learning_rate(self) -> float:
        """Peak learning rate: as set, or the field's default for the method, ten times that for an adapter."""
        if self.optimizer.learning_rate is not None:
            return self.optimizer.learning_rate
        default = 2e-5 if self.method.feedback == "demonstrations" else 1e-6
        return 10 * default if self.adapter.lora else default


def read_settings(path: str | Path) -> dict[str, Any]:
    """The settings in a YAML file, by name, not checked yet.

    Raises:
        ConfigError: no such file, or no mapping of names to values.
    """
    try:
        settings = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read ({error.strerror}). Give the path of a YAML file."]) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: is no YAML file. {error}"]) from None
    if not isinstance(settings, dict) or not all(isinstance(name, str) for name in settings):
        raise ConfigError([f"{path}: must hold lines of `name: value`, as `preftune train --print-config` prints."])
    return settings


def _line(name: str, value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000)
    return f"{name}: " + text.removesuffix("...\n").strip()  # PyYAML ends a bare scalar with a document end


def _bind_method(name: object, settings: Mapping[str, Any], problems: list[str]) -> Method | None:
    """The method with its options; an option that only other methods take is named as such."""
    if not isinstance(name, str):
        problems.append(f"method = {name!r}: must be text, such as dpo.")
        return None
    try:
        own = {option.name: option for loss in losses_of(name).values() for option in loss_options(loss)}
        given = {key: value for key, value in settings.items() if _is_option(key) and value is not None}
        return Method.named(name, {key: _option_value(key, value, own) for key, value in given.items()})
    except ConfigError as error:
        problems += error.problems
    return None


def _is_option(name: str) -> bool:
    return name.rpartition(".")[2] in _all_options()


def _option_value(name: str, value: Any, own: Mapping[str, Option]) -> OptionValue:
    """The value in the kind of its option; what cannot be is left as it is, for the method to refuse."""
    option = own.get(name.rpartition(".")[2])
    try:
        return value if option is None else coerce(value, option.kind)  # type: ignore[no-any-return]
    except ValueError:
        return value  # type: ignore[no-any-return]


def _all_options() -> set[str]:
    return {option.name for loss in LOSSES.values() for option in loss_options(loss)}


def _unknown(settings: Mapping[str, Any], method: str) -> Iterator[str]:
    known = {item.name for section in SECTIONS.values() for item in settings_of(section)} | _all_options()
    for name in settings:
        if name not in known and not _is_option(name):
            near = get_close_matches(name, known, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"See `preftune train --help`, method {method}."
            yield f"{name}: there is no such setting. {hint}"


def _misfits(method: Method, sections: Mapping[str, Any]) -> Iterator[str]:
    """What does not go with the method or with another topic; nothing of a topic that is wrong by itself."""
    data, model, adapter = (sections[topic] for topic in ("data", "model", "adapter"))
    if data is not None:
        yield from data.problems_with(method)
    if model is not None:
        yield from model.problems_with(method, lora=adapter is not None and adapter.lora)
    choice, output, draws = (sections[topic] for topic in ("choice", "output", "samples"))
    if None not in (data, draws):
        yield from draws.problems_with(data)
    if None not in (choice, data, output, draws):
        yield from choice.problems_with(method, data, output, draws)


def build_section(section: type, settings: Mapping[str, Any], problems: list[str]) -> Any:
    """An instance of `section`, or None and why not in `problems`."""
    values: dict[str, Any] = {}
    found: list[str] = []
    for item in settings_of(section):
        try:
            values[item.name] = _value(item, settings)
        except ValueError as error:
            found.append(str(error))
            values[item.name] = _stand_in(item)
    built = section(**values)
    found += built.problems()
    problems += found
    return None if found else built


def _stand_in(item: Setting) -> Any:
    """A value that is no problem, in place of one that is missing or of a wrong type: the others are checked too."""
    return coerce("-", item.type) if item.default is MISSING else item.default


def _value(item: Setting, settings: Mapping[str, Any]) -> Any:
    if item.name not in settings:
        if item.default is MISSING:
            raise ValueError(f"{item.name}: is not given. {item.help} Set it with {item.flag}.")
        return item.default
    try:
        return coerce(settings[item.name], item.type)
    except ValueError as error:
        raise ValueError(f"{item.name} = {settings[item.name]!r}: {error}.") from None
