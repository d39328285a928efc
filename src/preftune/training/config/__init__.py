"""The settings of a run."""

from preftune.training.config.choice import METRICS, REWARD_AT_KL_BUDGET, ChoiceSettings
from preftune.training.config.health import HealthSettings
from preftune.training.config.samples import DrawSettings
from preftune.training.config.sections import (
    AdapterSettings,
    DataSettings,
    ModelSettings,
    OptimizerSettings,
    OutputSettings,
    StepSettings,
)
from preftune.training.config.setting import Setting, settings_of
from preftune.training.config.train_config import SECTIONS, TrainConfig, build_section, read_settings

__all__ = [
    "METRICS",
    "REWARD_AT_KL_BUDGET",
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
