"""The settings of a run."""

from preftune.settings.choice import ChoiceSettings, DrawSettings
from preftune.settings.config import build_section, read_settings
from preftune.settings.data import DataSettings
from preftune.settings.sections import (
    AdapterSettings,
    HealthSettings,
    ModelSettings,
    OptimizerSettings,
    OutputSettings,
    StepSettings,
)
from preftune.settings.setting import Section, Setting, settings_of
from preftune.settings.train_config import SECTIONS, SETTINGS, TrainConfig

__all__ = [
    "SECTIONS",
    "SETTINGS",
    "AdapterSettings",
    "ChoiceSettings",
    "DataSettings",
    "DrawSettings",
    "HealthSettings",
    "ModelSettings",
    "OptimizerSettings",
    "OutputSettings",
    "Section",
    "Setting",
    "StepSettings",
    "TrainConfig",
    "build_section",
    "read_settings",
    "settings_of",
]
