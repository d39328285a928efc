"""Sweeps: many runs that differ in some settings, what each gained and how far it went, and which to take.

What needs transformers is imported when it is asked for, so that help texts and checks of settings do not wait for it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from preftune.sweep.config import SweepConfig

if TYPE_CHECKING:
    from preftune.sweep.result import SweepResult
    from preftune.sweep.run import sweep

__all__ = ["SweepConfig", "SweepResult", "sweep"]

_MODULES = {"SweepResult": "result", "sweep": "run"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
