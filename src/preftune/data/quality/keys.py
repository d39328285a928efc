"""Texts and rows as numbers of 8 bytes, so that a data set is compared with itself without its texts in memory."""

import heapq
import struct
from array import array
from dataclasses import dataclass
from hashlib import blake2b
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from preftune.groups import Origin

KeyArray = NDArray[np.uint64]

_FACTORS = (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
_MASK = (1 << 64) - 1
_ROW_BITS = 40

Item = TypeVar("Item")


def key_of(text: str) -> int:
    """64-bit hash of a text. Among n texts, some two differ with equal keys with probability n^2 / 2^65.

    >>> key_of("a") == key_of("a"), key_of("a") == key_of("b")
    (True, False)
    """
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def mixed_key(*keys: int) -> int:
    """One key of several; their order matters."""
    return int.from_bytes(blake2b(struct.pack(f"<{len(keys)}Q", *keys), digest_size=8).digest(), "little")


def mixed(*columns: KeyArray) -> KeyArray:
    """One key of several, row by row: the finaliser of SplitMix64 after each column. Shape: (row,)."""
    result = np.zeros_like(columns[0])
    first, second, third = (np.uint64(factor) for factor in _FACTORS)
    with np.errstate(over="ignore"):
        for column in columns:
            result = (result ^ column) + first
            result = (result ^ (result >> np.uint64(30))) * second
            result = (result ^ (result >> np.uint64(27))) * third
            result ^= result >> np.uint64(31)
    return result


def _rank(key: int, seed: int) -> int:
    """Position of a key in an order that the seed decides: one step of SplitMix64."""
    value = (key + _FACTORS[0] * (seed + 1)) & _MASK
    value = ((value ^ (value >> 30)) * _FACTORS[1]) & _MASK
    value = ((value ^ (value >> 27)) * _FACTORS[2]) & _MASK
    return value ^ (value >> 31)


class Places:
    """Numbers of origins, in order of source and row, and back: a million origins as objects would fill the memory.

    >>> places = Places()
    >>> place = places.of(Origin("prefs.jsonl", 17))
    >>> str(places.origin(place))
    'prefs.jsonl:17'
    """

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    @property
    def sources(self) -> tuple[str, ...]:
        """Sources in the order they were first seen."""
        return tuple(self._numbers)

    def of(self, origin: Origin) -> int:
        """Number of an origin."""
        return self._numbers.setdefault(origin.source, len(self._numbers)) << _ROW_BITS | origin.row

    def origin(self, place: int) -> Origin:
        """Origin of a number that `of` returned."""
        place = int(place)
        return Origin(self.sources[place >> _ROW_BITS], place & ((1 << _ROW_BITS) - 1))


@dataclass(frozen=True, slots=True)
class Repeats:
    """Rows whose key an earlier row has.

    Args:
        places: Their numbers, rising. Shape: (repeat,).
        first: For each, the first row with its key. Shape: (repeat,).
    """

    places: KeyArray
    first: KeyArray


class KeyLog:
    """Keys and the numbers of their rows, 16 bytes each.

    >>> log = KeyLog()
    >>> for place, text in enumerate(["a", "b", "a", "a"]):
    ...     log.add(key_of(text), place)
    >>> log.repeats().places.tolist()
    [2, 3]
    """

    def __init__(self) -> None:
        self._keys = array("Q")
        self._places = array("Q")

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, key: int, place: int) -> None:
        """Log a key of a row."""
        self._keys.append(key)
        self._places.append(place)

    @property
    def keys(self) -> KeyArray:
        """All keys, in the order added. Shape: (key,)."""
        return np.array(self._keys, dtype=np.uint64)

    @property
    def places(self) -> KeyArray:
        """Row of each key. Shape: (key,)."""
        return np.array(self._places, dtype=np.uint64)

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


class Sample(Generic[Item]):
    """A seeded sample of a stream: the items of the `size` distinct keys that a seeded hash ranks first.

    Each distinct key is equally likely to be sampled, independent of the order of the stream and of repetitions. Memory
    is bounded by `size`.

    >>> sample = Sample[str](2, seed=0)
    >>> for key in range(100):
    ...     if sample.wants(key):
    ...         sample.add(key, f"item {key}")
    >>> len(sample), sample.is_all
    (2, False)
    """

    def __init__(self, size: int, *, seed: int) -> None:
        self._size = size
        self._seed = seed
        self._heap: list[int] = []  # negative ranks: the last rank is popped first
        self._items: dict[int, Item] = {}
        self.is_all = True

    def __len__(self) -> int:
        return len(self._items)

    def wants(self, key: int) -> bool:
        """True if an item with this key would enter the sample. Ask before making an expensive item."""
        rank = _rank(key, self._seed)
        if rank in self._items:
            return False
        if len(self._heap) < self._size:
            return True
        self.is_all = False
        return rank < -self._heap[0]

    def add(self, key: int, item: Item) -> None:
        """Add an item that is wanted."""
        rank = _rank(key, self._seed)
        self._items[rank] = item
        heapq.heappush(self._heap, -rank)
        if len(self._heap) > self._size:
            del self._items[-heapq.heappop(self._heap)]

    def items(self) -> list[Item]:
        """Sampled items, in the order of the hash."""
        return [self._items[rank] for rank in sorted(self._items)]
