"""States of the random generators that training depends on."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class RandomState:
    """States of the global generators: PyTorch's on the CPU and the current GPU, NumPy's and Python's."""

    host: Tensor
    gpu: Tensor | None
    numpy: Any
    python: Any

    @classmethod
    def now(cls) -> Self:
        """The present states."""
        gpu = torch.cuda.get_rng_state() if torch.cuda.is_available() else None
        return cls(torch.get_rng_state(), gpu, np.random.get_state(), random.getstate())

    def restore(self) -> None:
        """Return to these states."""
        torch.set_rng_state(self.host)
        if self.gpu is not None:
            torch.cuda.set_rng_state(self.gpu)
        np.random.set_state(self.numpy)
        random.setstate(self.python)


@contextmanager
def unchanged_random_state() -> Iterator[None]:
    """Context whose draws from the global generators leave no trace, so that training goes on as without them.

    >>> with unchanged_random_state():
    ...     inside = torch.rand(3)
    >>> torch.equal(torch.rand(3), inside)
    True
    """
    before = RandomState.now()
    try:
        yield
    finally:
        before.restore()
