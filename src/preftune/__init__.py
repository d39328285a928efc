"""preftune: preference tuning for language models, with plain supervised training."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from preftune.machine import set_up_threads

if TYPE_CHECKING:  # `X as X` re-exports a name to type checkers
    from preftune.compat import CPOConfig as CPOConfig
    from preftune.compat import CPOTrainer as CPOTrainer
    from preftune.compat import DPOConfig as DPOConfig
    from preftune.compat import DPOTrainer as DPOTrainer
    from preftune.compat import KTOConfig as KTOConfig
    from preftune.compat import KTOTrainer as KTOTrainer
    from preftune.compat import ORPOConfig as ORPOConfig
    from preftune.compat import ORPOTrainer as ORPOTrainer
    from preftune.compat import SFTConfig as SFTConfig
    from preftune.compat import SFTTrainer as SFTTrainer
    from preftune.data.load import load_groups as load_groups
    from preftune.groups import Completion as Completion
    from preftune.groups import Message as Message
    from preftune.groups import Origin as Origin
    from preftune.groups import Pair as Pair
    from preftune.groups import PromptGroup as PromptGroup
    from preftune.losses import Method as Method
    from preftune.runs.run import train as train
    from preftune.settings import TrainConfig as TrainConfig
    from preftune.training.trainer import PreferenceTrainer as PreferenceTrainer

__version__ = "0.1.0"

_NAMES = {
    "preftune.compat": "CPOConfig CPOTrainer DPOConfig DPOTrainer KTOConfig KTOTrainer ORPOConfig ORPOTrainer "
    "SFTConfig SFTTrainer",
    "preftune.data.load": "load_groups",
    "preftune.groups": "Completion Message Origin Pair PromptGroup",
    "preftune.losses": "Method",
    "preftune.runs.run": "train",
    "preftune.settings": "TrainConfig",
    "preftune.training.trainer": "PreferenceTrainer",
}
"""Public names by module. A module is imported when one of its names is first used: importing all takes seconds."""

_MODULES = {name: module for module, names in _NAMES.items() for name in names.split()}

set_up_threads()  # before anything imports torch, which reads the variables once

__all__ = sorted(_MODULES)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
