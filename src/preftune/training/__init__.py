"""Training: the settings of a run, the trainer, and a whole run from settings to a saved model.

What needs transformers is imported when it is asked for, so that help texts and checks of settings do not wait for it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from preftune.training.config import TrainConfig

if TYPE_CHECKING:
    from preftune.training.objective import Objective
    from preftune.training.result import RunResult
    from preftune.training.run import train
    from preftune.training.trainer import PreferenceTrainer

__all__ = ["Objective", "PreferenceTrainer", "RunResult", "TrainConfig", "train"]

_MODULES = {"Objective": "objective", "PreferenceTrainer": "trainer", "RunResult": "result", "train": "run"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
