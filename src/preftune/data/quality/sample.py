"""A seeded sample of a stream that does not depend on its order."""

import heapq
from typing import Generic, TypeVar

from preftune.data.quality.keys import rank_of

__all__ = ["Sample"]

Item = TypeVar("Item")


class Sample(Generic[Item]):
    """Items of the `size` distinct keys that a seeded hash ranks first. All of them, if there are not more.

    So each distinct key is as likely to be in as any other, whatever the order of the stream and however often it
    occurs. Memory is bounded by `size`.

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
        self._heap: list[int] = []  # negative ranks, so that the last rank comes out first
        self._items: dict[int, tuple[int, Item]] = {}
        self.is_all = True

    def __len__(self) -> int:
        return len(self._items)

    def wants(self, key: int) -> bool:
        """Whether an item with this key would come into the sample. To be asked before an item is made at a cost."""
        rank = rank_of(key, self._seed)
        if rank in self._items:
            return False
        if len(self._heap) < self._size:
            return True
        self.is_all = False
        return rank < -self._heap[0]

    def add(self, key: int, item: Item) -> None:
        """Take in an item that is wanted."""
        rank = rank_of(key, self._seed)
        self._items[rank] = (key, item)
        heapq.heappush(self._heap, -rank)
        if len(self._heap) > self._size:
            del self._items[-heapq.heappop(self._heap)]

    def items(self) -> list[tuple[int, Item]]:
        """Keys and items, in the order of the hash."""
        return [self._items[rank] for rank in sorted(self._items)]
