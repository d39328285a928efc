"""Where reference log-probs come from, and the file that keeps them.

What needs transformers is imported when it is asked for, so that a look into the file does not wait for it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from preftune.reference.cached import Cached
    from preftune.reference.reference import AdapterOff, FrozenCopy, KeptAdapter, NoReference, Reference

__all__ = ["AdapterOff", "Cached", "FrozenCopy", "KeptAdapter", "NoReference", "Reference"]

_MODULES = {"Cached": "cached"} | dict.fromkeys(
    ("AdapterOff", "FrozenCopy", "KeptAdapter", "NoReference", "Reference"), "reference"
)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
