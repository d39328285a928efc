"""Log-probs of a completion's tokens, as they stand in memory and in the file."""

from math import fsum
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["TokenArray", "array_of", "blob_of", "sum_of"]

TokenArray = npt.NDArray[np.floating[Any]]
"""Log-prob of each token of one completion, in float32 or float64, as computed. Shape: (token,). Unit: nats."""

_TYPES = {4: "<f4", 8: "<f8"}
"""Bytes of a value to how it stands in the file."""


def blob_of(logps: TokenArray) -> tuple[int, bytes]:
    """Bytes of a value, and the values as little-endian numbers.

    >>> blob_of(np.array([-1.0], dtype=np.float32))
    (4, b'\\x00\\x00\\x80\\xbf')
    """
    return logps.itemsize, logps.astype(_TYPES[logps.itemsize], copy=False).tobytes()


def array_of(bytes_per_value: int, blob: bytes) -> TokenArray:
    """The opposite of `blob_of`.

    >>> array_of(*blob_of(np.array([-1.0], dtype=np.float32)))
    array([-1.], dtype=float32)
    """
    # A copy, in the byte order of this machine, that may be written to.
    little_endian = np.frombuffer(blob, _TYPES[bytes_per_value])
    return little_endian.astype(little_endian.dtype.newbyteorder("="))


def sum_of(logps: TokenArray) -> float:
    """Log-prob of the completion, rounded once.

    >>> sum_of(np.array([-0.5, -0.25], dtype=np.float32))
    -0.75
    """
    return fsum(logps.tolist())
