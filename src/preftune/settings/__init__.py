"""The settings of a run."""

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
from preftune.settings.setting import Setting, settings_of
from preftune.settings.train_config import SECTIONS, TrainConfig, build_section, read_settings

__all__ = [
    "SECTIONS",
    "AdapterSettings",
    "ChoiceSettings",
    "DataSettings",
    "DrawSettings",
    "HealthSettings",
    "ModelSettings",
    "OptimizerSettings",
    "OutputSettings",
    "Setting",
    "StepSettings",
    "TrainConfig",
    "build_section",
    "read_settings",
    "settings_of",
]
