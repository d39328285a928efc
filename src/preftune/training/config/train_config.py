"""Everything that a run depends on, in one place, checked at once."""

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, asdict, dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from preftune.errors import ConfigError
from preftune.losses import LOSSES, Method, find_loss, loss_options
from preftune.training.config.coerce import coerce
from preftune.training.config.sections import (
    AdapterSettings,
    DataSettings,
    ModelSettings,
    OptimizerSettings,
    OutputSettings,
    StepSettings,
)
from preftune.training.config.setting import Setting, settings_of

__all__ = ["SECTIONS", "TrainConfig", "build_section", "read_settings"]

SECTIONS: Mapping[str, type] = {
    "model": ModelSettings,
    "data": DataSettings,
    "steps": StepSettings,
    "optimizer": OptimizerSettings,
    "adapter": AdapterSettings,
    "output": OutputSettings,
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
        sections = (self.model, self.data, self.steps, self.optimizer, self.adapter, self.output)
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
        default = 1e-6 if self.method.loss.feedback == "pairs" else 2e-5
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
        own = {option.name for option in loss_options(find_loss(name))}
        given = {key: value for key, value in settings.items() if key in own or key in _all_options()}
        options = {key: coerce(value, float) for key, value in given.items() if value is not None}
        return Method.named(name, options)
    except ConfigError as error:
        problems += error.problems
    except ValueError as error:
        problems.append(f"options of method {name}: each {error}.")
    return None


def _all_options() -> set[str]:
    return {option.name for loss in LOSSES.values() for option in loss_options(loss)}


def _unknown(settings: Mapping[str, Any], method: str) -> Iterator[str]:
    known = {item.name for section in SECTIONS.values() for item in settings_of(section)} | _all_options()
    for name in settings:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"See `preftune train --help`, method {method}."
            yield f"{name}: there is no such setting. {hint}"


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
