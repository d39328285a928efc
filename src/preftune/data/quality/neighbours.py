"""Clusters of similar texts: MinHash finds candidates, the Jaccard similarity of their word pairs decides."""

import zlib
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Shingles = NDArray[np.uint32]
"""Hashes of a text's word pairs, distinct and rising. Shape: (shingle,)."""

MOST_SHINGLES = 512
"""Longer texts keep the smallest hashes, which are a uniform sample of their word pairs."""

_NUM_PERMUTATIONS = 96
_ROWS_PER_BAND = 4
_WINDOW = 4
_SLACK = 0.25  # three standard errors of a similarity estimated from 32 MinHash values


def shingles_of(words: Sequence[str]) -> Shingles:
    """Hashes of the pairs of neighbouring words, or of the only word.

    >>> len(shingles_of("to be or not to be".split()))  # "to be" occurs twice
    4
    """
    pairs = set(pairwise(words)) or {(word, "") for word in words} or {("", "")}
    hashes = sorted({zlib.crc32(f"{first} {second}".encode("utf-8", "surrogatepass")) for first, second in pairs})
    return np.array(hashes[:MOST_SHINGLES], dtype=np.uint32)


def jaccard(first: Shingles, second: Shingles) -> float:
    """Shared word pairs per word pairs of either, in [0, 1]; an estimate for texts with more than 512 word pairs.

    >>> jaccard(shingles_of("a b c".split()), shingles_of("a b d".split()))  # "a b" of "a b", "b c", "b d"
    0.3333333333333333
    """
    if len(first) == MOST_SHINGLES or len(second) == MOST_SHINGLES:
        both = np.union1d(first, second)[:MOST_SHINGLES]
        return float((np.isin(both, first) & np.isin(both, second)).mean())
    shared = len(np.intersect1d(first, second, assume_unique=True))
    return shared / (len(first) + len(second) - shared)


def cluster_alike(items: Sequence[Sequence[Shingles]], thresholds: Sequence[float]) -> NDArray[np.int64]:
    """Clusters of items in which each item is similar to another one in every part.

    Candidates share a band of MinHash values: 24 bands of 4 values, assigned to the parts in turn. Two items with
    Jaccard similarity s of a single part agree in a value with probability s, in a band with s^4, and are candidates
    with probability 1 - (1 - s^4)^24: 0.96 at s = 0.6. With similarity 0.6 in the first and 0.8 in the other two of
    three parts it is 0.9995. The Jaccard similarity of the shingles then decides.

    Args:
        items: Parts of each item: one, two or three, the same number for all.
        thresholds: Similarity of each part from which two items are alike, in (0, 1].
    Returns:
        Index of the first item of the cluster of each item. Shape: (item,).
    """
    leaders = np.arange(len(items))
    if len(items) < 2:
        return leaders
    for first, second in _candidates(_signatures(items), thresholds):
        one, other = _leader(leaders, first), _leader(leaders, second)
        if one == other:
            continue
        parts = zip(items[first], items[second], thresholds, strict=True)
        if all(jaccard(left, right) >= threshold for left, right, threshold in parts):
            leaders[max(one, other)] = min(one, other)
    return np.array([_leader(leaders, index) for index in range(len(items))])


def _leader(leaders: NDArray[np.int64], index: int) -> int:
    while leaders[index] != index:
        leaders[index] = leaders[leaders[index]]
        index = int(leaders[index])
    return index


def _signatures(items: Sequence[Sequence[Shingles]]) -> NDArray[np.uint32]:
    """MinHash values of each item, interleaved over its parts. Shape: (item, permutation)."""
    from datasketch import MinHash

    num_parts = len(items[0])
    empty = MinHash(num_perm=_NUM_PERMUTATIONS // num_parts, seed=1, hashfunc=int)
    signatures = np.empty((len(items), _NUM_PERMUTATIONS), dtype=np.uint32)
    for index, item in enumerate(items):
        for number, shingles in enumerate(item):
            minhash = empty.copy()
            minhash.update_batch(shingles)
            signatures[index, number::num_parts] = minhash.hashvalues
    return signatures


def _candidates(signatures: NDArray[np.uint32], thresholds: Sequence[float]) -> Iterator[tuple[int, int]]:
    """Pairs that agree in a band and, within the error of the estimate, in the share of values each threshold asks for.

    Each pair comes once. Sorting takes a hundred bytes per item for a moment; datasketch's index of dicts takes 8 kB
    per item to the end.
    """
    codes = np.zeros(0, dtype=np.int64)
    for start in range(0, signatures.shape[1], _ROWS_PER_BAND):
        band = np.ascontiguousarray(signatures[:, start : start + _ROWS_PER_BAND])
        keys = band.view(np.dtype((np.void, band.dtype.itemsize * _ROWS_PER_BAND))).ravel()
        order = np.argsort(keys, kind="stable")
        for step in range(1, _WINDOW + 1):
            first, second = order[:-step], order[step:]
            alike = keys[first] == keys[second]
            codes = np.union1d(codes, first[alike] * len(signatures) + second[alike])
    for chunk in np.array_split(codes, len(codes) // 100_000 + 1):
        first, second = np.divmod(chunk, len(signatures))
        equal = signatures[first] == signatures[second]
        shares = np.stack([equal[:, part :: len(thresholds)].mean(axis=1) for part in range(len(thresholds))])
        likely = (shares >= np.array(thresholds)[:, None] - _SLACK).all(axis=0)
        yield from zip(first[likely].tolist(), second[likely].tolist(), strict=True)
