"""Mixtures: the share of each data source in an epoch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from preftune.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Mixture:
    """The groups of each epoch.

    Args:
        members: Indices of the groups of each source.
        counts: Groups of each source per epoch, each at least 1.
    """

    members: tuple[tuple[int, ...], ...]
    counts: tuple[int, ...]
    seed: int

    @staticmethod
    def of(
        members: Sequence[Sequence[int]],
        weights: Sequence[float],
        names: Sequence[str],
        *,
        num_groups: int | None = None,
        seed: int = 0,
    ) -> "Mixture":
        """A mixture in which the share of each source in an epoch is proportional to its weight.

        Args:
            weights: Weight of each source, > 0.
            num_groups: Groups per epoch. Default: the most for which no source repeats a group within an epoch.

        >>> Mixture.of([range(60), range(60, 100)], [0.75, 0.25], ["a", "b"]).counts  # 60 is 0.75 of 80
        (60, 20)
        """
        shares = [weight / sum(weights) for weight in weights]
        sizes = [len(own) for own in members]
        if num_groups is None:
            total = min(size / share for size, share in zip(sizes, shares, strict=True))
            # Rounding must not make a source repeat.
            counts = [min(round(total * share), size) for share, size in zip(shares, sizes, strict=True)]
        else:
            counts = _rounded([num_groups * share for share in shares])
        problems = [
            f"mix: {name} has {size:,} prompts and {share:.2%} of the weight, so an epoch would contain none of it. "
            "Give it more weight, or set prompts_per_epoch higher."
            for name, size, share, count in zip(names, sizes, shares, counts, strict=True)
            if not size or not count
        ]
        if problems:
            raise ConfigError(problems)
        return Mixture(tuple(map(tuple, members)), tuple(counts), seed)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of groups of each source."""
        return tuple(len(own) for own in self.members)

    def draw(self, epoch: int) -> list[int]:
        """Indices of the groups of an epoch, in ascending order. A pure function, so a resumed run continues exactly.

        Every group of a source appears once before any group appears again, within an epoch and across epochs.

        Args:
            epoch: Index of the epoch, from 0.

        >>> mixture = Mixture(((0, 1, 2, 3), (4,)), counts=(2, 1), seed=0)
        >>> sorted(mixture.draw(0) + mixture.draw(1))
        [0, 1, 2, 3, 4, 4]
        """
        drawn: list[int] = []
        for source, (own, count) in enumerate(zip(self.members, self.counts, strict=True)):
            passes, rest = divmod(count, len(own))
            drawn += own * passes
            drawn += (own[place] for place in self._places(source, len(own), rest, epoch))
        return sorted(drawn)

    def _places(self, source: int, size: int, count: int, epoch: int) -> list[int]:
        """Places of an epoch in an endless sequence of laps, each a permutation of the source.

        Epoch e takes the items [e * count, (e + 1) * count) of the sequence, where count < size. An epoch that spans
        the end of one lap must not draw an item of that lap again from the start of the next. So those items are moved
        behind the first `count - begun` of the next lap, where `begun` items of the epoch lie in the lap before.
        """
        start, stop = epoch * count, (epoch + 1) * count
        places: list[int] = []
        order: list[int] = []
        for lap in range(
            math.ceil(stop / size)
        ):  # from the first, because the order of a lap depends on the lap before
            first = lap * size
            begun = first % count
            permutation = np.random.default_rng([self.seed, source, lap]).permutation(size).tolist()
            order = _without_again(permutation, order[size - begun :], count - begun)
            places += order[max(start - first, 0) : max(stop - first, 0)]
        return places


def _without_again(permutation: list[int], drawn: list[int], missing: int) -> list[int]:
    """The permutation, reordered so that none of `drawn` is among its first `missing` items.

    >>> _without_again([2, 0, 1, 3], drawn=[2], missing=2)
    [0, 1, 2, 3]
    """
    if not drawn:
        return permutation
    kept = set(drawn)
    front = [place for place in permutation if place not in kept][:missing]
    chosen = set(front)
    return [*front, *(place for place in permutation if place not in chosen)]


def _rounded(parts: Sequence[float]) -> list[int]:
    """Integers near `parts` with the same sum: those with the largest remainders are rounded up.

    >>> _rounded([3.5, 1.25, 0.25])
    [4, 1, 0]
    """
    counts = [math.floor(part) for part in parts]
    missing = round(sum(parts)) - sum(counts)
    by_remainder = sorted(range(len(parts)), key=lambda index: (counts[index] - parts[index], index))
    for index in by_remainder[:missing]:
        counts[index] += 1
    return counts
