"""Options of commands that load a model to use it."""

from collections.abc import Mapping
from typing import Any

import rich_click as click

from preftune.cli.setting_options import given_values, setting_flags
from preftune.settings import ModelSettings, Setting, build_section, settings_of

__all__ = ["chosen_model", "model_flags"]


_DEFAULTS: Mapping[str, Any] = {"weights_dtype": "auto"}
"""Where these commands differ from training."""

_HELP: Mapping[str, str] = {
    "model": "The model: hub id, local folder, or folder of a run or adapter.",
    "weights_dtype": "Type that weights are held in; auto: as they were saved.",
}


def model_flags(*names: str, help_: Mapping[str, str] = _HELP) -> list[click.RichOption]:
    """Options for some of the model settings.

    Args:
        names: Of the settings.
        help_: Texts in place of those of training.
    """
    settings = {setting.name: setting for setting in settings_of(ModelSettings)}
    adapted = [
        Setting(
            name, settings[name].type, _DEFAULTS.get(name, settings[name].default), help_.get(name, settings[name].help)
        )
        for name in names
    ]
    return setting_flags(adapted, panel="Model")


def chosen_model(context: click.Context, problems: list[str]) -> ModelSettings | None:
    """The model settings that the user gave; None if they cannot work, and why not in `problems`.

    Args:
        context: Of the command.
        problems: Grows.
    """
    names = [setting.name for setting in settings_of(ModelSettings) if setting.name in context.params]
    built = build_section(ModelSettings, {**_DEFAULTS, **given_values(context, names)}, problems)
    assert built is None or isinstance(built, ModelSettings)
    return built
