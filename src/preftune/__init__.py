"""preftune: preference tuning for language models, with plain supervised training."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from preftune.compat import (
        CPOConfig,
        CPOTrainer,
        DPOConfig,
        DPOTrainer,
        KTOConfig,
        KTOTrainer,
        ORPOConfig,
        ORPOTrainer,
        SFTConfig,
        SFTTrainer,
    )
    from preftune.data import load_groups
    from preftune.groups import Completion, Message, Origin, Pair, PromptGroup
    from preftune.losses import Method
    from preftune.runs.run import train
    from preftune.settings import TrainConfig
    from preftune.training.trainer import PreferenceTrainer

__version__ = "0.1.0"

__all__ = [
    "CPOConfig",
    "CPOTrainer",
    "Completion",
    "DPOConfig",
    "DPOTrainer",
    "KTOConfig",
    "KTOTrainer",
    "Message",
    "Method",
    "ORPOConfig",
    "ORPOTrainer",
    "Origin",
    "Pair",
    "PreferenceTrainer",
    "PromptGroup",
    "SFTConfig",
    "SFTTrainer",
    "TrainConfig",
    "load_groups",
    "train",
]

_HOMES = {
    "CPOConfig": "preftune.compat",
    "CPOTrainer": "preftune.compat",
    "Completion": "preftune.groups",
    "DPOConfig": "preftune.compat",
    "DPOTrainer": "preftune.compat",
    "KTOConfig": "preftune.compat",
    "KTOTrainer": "preftune.compat",
    "Message": "preftune.groups",
    "Method": "preftune.losses",
    "ORPOConfig": "preftune.compat",
    "ORPOTrainer": "preftune.compat",
    "Origin": "preftune.groups",
    "Pair": "preftune.groups",
    "PreferenceTrainer": "preftune.training.trainer",
    "PromptGroup": "preftune.groups",
    "SFTConfig": "preftune.compat",
    "SFTTrainer": "preftune.compat",
    "TrainConfig": "preftune.settings",
    "load_groups": "preftune.data",
    "train": "preftune.runs.run",
}
"""Where each name is imported from, when it is first asked for: importing all would take seconds."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
