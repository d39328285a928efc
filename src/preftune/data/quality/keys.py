"""Texts as keys of 8 bytes, and logs of keys: a data set is compared with itself without keeping its texts."""

import struct
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["KeyArray", "KeyLog", "Repeats", "key_of", "mixed", "mixed_key"]

KeyArray = NDArray[np.uint64]

_FACTORS = (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
_MASK = (1 << 64) - 1


def key_of(text: str) -> int:
    """A key of 64 bits: equal texts have equal keys, and among n texts two others do with chance n^2 / 2^65.

    >>> key_of("a") == key_of("a"), key_of("a") == key_of("b")
    (True, False)
    """
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def mixed_key(*keys: int) -> int:
    """One key of several, in this order."""
    return int.from_bytes(blake2b(struct.pack(f"<{len(keys)}Q", *keys), digest_size=8).digest(), "little")


def mixed(*columns: KeyArray) -> KeyArray:
    """One key of several, row by row, in this order: the finaliser of SplitMix64 after each."""
    result = np.zeros_like(columns[0])
    first, second, third = (np.uint64(factor) for factor in _FACTORS)
    with np.errstate(over="ignore"):
        for column in columns:
            result = (result ^ column) + first
            result = (result ^ (result >> np.uint64(30))) * second
            result = (result ^ (result >> np.uint64(27))) * third
            result ^= result >> np.uint64(31)
    return result


def rank_of(key: int, seed: int) -> int:
    """A key in another order, which the seed decides: as `mixed`, of one key."""
    value = (key + _FACTORS[0] * (seed + 1)) & _MASK
    value = ((value ^ (value >> 30)) * _FACTORS[1]) & _MASK
    value = ((value ^ (value >> 27)) * _FACTORS[2]) & _MASK
    return value ^ (value >> 31)


@dataclass(frozen=True, slots=True)
class Repeats:
    """Rows whose key an earlier row has.

    Args:
        places: Of each such row, in order. Shape: (repeat,).
        first: The place of the first row with its key. Shape: (repeat,).
    """

    places: NDArray[Any]
    first: NDArray[Any]


class KeyLog:
    """Keys and the places of their rows, 16 bytes each.

    >>> log = KeyLog()
    >>> for place, text in enumerate(["a", "b", "a", "a"]):
    ...     log.add(key_of(text), place)
    >>> log.repeats().places.tolist(), log.num_distinct()
    ([2, 3], 2)
    """

    def __init__(self) -> None:
        self._keys = array("Q")
        self._places = array("Q")

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, key: int, place: int) -> None:
        """Note a key."""
        self._keys.append(key)
        self._places.append(place)

    def extend(self, keys: Iterable[int], place: int) -> None:
        """Note several keys of one row."""
        for key in keys:
            self.add(key, place)

    @property
    def keys(self) -> KeyArray:
        """In the order they came. Shape: (key,)."""
        return np.array(self._keys, dtype=np.uint64)

    @property
    def places(self) -> KeyArray:
        """Of each key its row. Shape: (key,)."""
        return np.array(self._places, dtype=np.uint64)

    def num_distinct(self) -> int:
        """How many different keys there are."""
        return len(np.unique(self.keys))

    def repeats(self) -> Repeats:
        """Rows whose key an earlier row has."""
        keys, places = self.keys, self.places
        order = np.lexsort((places, keys))
        keys, places = keys[order], places[order]
        starts = np.concatenate([[True], keys[1:] != keys[:-1]]) if len(keys) else np.zeros(0, dtype=bool)
        firsts = places[starts][np.cumsum(starts) - 1]
        repeated = np.flatnonzero(~starts)
        by_place = repeated[np.argsort(places[repeated], kind="stable")]
        return Repeats(places[by_place], firsts[by_place])
