"""Completions drawn from a model, and how far they show it to be from its reference.

What needs transformers is imported when it is asked for, so that help texts and checks of settings do not wait for it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from preftune.generation.completions import Generation, generate
    from preftune.generation.estimate import Estimate
    from preftune.generation.kl import sampled_kl
    from preftune.generation.realigned import Realignment
    from preftune.generation.sampling import Sampling

__all__ = ["Estimate", "Generation", "Realignment", "Sampling", "generate", "sampled_kl"]

_MODULES = {
    "Estimate": "estimate",
    "Generation": "completions",
    "Realignment": "realigned",
    "Sampling": "sampling",
    "generate": "completions",
    "sampled_kl": "kl",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
