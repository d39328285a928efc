"""One point of a sweep: the settings that set it apart, and the run that it is."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from preftune.settings import TrainConfig
from preftune.settings.swept import Value, value_text

__all__ = ["Point", "Setup", "grid", "safe_name", "setup_name"]

Setup = Mapping[str, Value]
"""The swept settings of a point, by name; the seed is none of them."""

_LONGEST = 120


@dataclass(frozen=True, slots=True)
class Point:
    """A run of a sweep.

    Args:
        name: Of its folder.
        setup: What is swept. Points that differ in the seed alone have the same.
        config: The settings of the run.
    """

    name: str
    setup: Setup
    config: TrainConfig

    @property
    def seed(self) -> int:
        """Of the run."""
        return self.config.steps.seed


def grid(over: Mapping[str, Sequence[Value]]) -> list[Setup]:
    """All combinations, the last name fastest.

    >>> grid({"beta": [0.1, 0.3], "epochs": [1.0]})
    [{'beta': 0.1, 'epochs': 1.0}, {'beta': 0.3, 'epochs': 1.0}]
    """
    return [dict(zip(over, values, strict=True)) for values in product(*over.values())]


def setup_name(setup: Setup) -> str:
    """The swept settings for people.

    >>> setup_name({"beta": 0.1, "method": "dpo"})
    'beta=0.1, method=dpo'
    """
    return ", ".join(f"{name}={value_text(value)}" for name, value in setup.items())


def safe_name(text: str) -> str:
    """A name for a folder: what may not stand in one is replaced, and a digest then keeps different texts apart.

    >>> safe_name("beta=0.1,seed=0")
    'beta=0.1,seed=0'
    >>> safe_name("model=org/a,seed=0") != safe_name("model=org-a,seed=0")
    True
    """
    name = re.sub(r"[^\w.,=+@-]+", "-", text).strip(".")[:_LONGEST]
    return name if name == text else f"{name}-{hashlib.blake2b(text.encode(), digest_size=3).hexdigest()}"
