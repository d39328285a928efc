import random
from collections.abc import Sequence
from itertools import combinations, pairwise

import numpy as np
import pytest

from preftune.data.quality.neighbours import MOST_SHINGLES, Shingles, cluster_alike, jaccard, shingles_of


def texts(count: int, words: int, *, seed: int = 0) -> list[list[str]]:
    rng = random.Random(seed)
    return [[f"w{rng.randrange(5000)}" for _ in range(words)] for _ in range(count)]


def changed(words: list[str], count: int, *, seed: int = 0) -> list[str]:
    rng, result = random.Random(seed), list(words)
    for at in rng.sample(range(len(words)), count):
        result[at] = "else"
    return result


def plain_clusters(items: Sequence[tuple[Shingles, ...]], thresholds: list[float]) -> set[frozenset[int]]:
    """By comparing all with all."""
    clusters = [{index} for index in range(len(items))]
    for first, second in combinations(range(len(items)), 2):
        parts = zip(items[first], items[second], thresholds, strict=True)
        if all(jaccard(left, right) >= bound for left, right, bound in parts):
            one, other = (next(own for own in clusters if index in own) for index in (first, second))
            if one is not other:
                clusters.remove(other)
                one |= other
    return {frozenset(own) for own in clusters}


def found_clusters(items: Sequence[tuple[Shingles, ...]], thresholds: list[float]) -> set[frozenset[int]]:
    leaders = cluster_alike(items, thresholds).tolist()
    assert all(leaders[leader] == leader <= index for index, leader in enumerate(leaders))
    return {frozenset(i for i, own in enumerate(leaders) if own == leader) for leader in set(leaders)}


@pytest.mark.parametrize("threshold", [0.6, 0.8])
def test_clusters_are_those_of_comparing_all_with_all(threshold: float) -> None:
    base = texts(60, 40)
    words = [*base, *(changed(own, number % 6, seed=number) for number, own in enumerate(base))]
    items = [(shingles_of(own),) for own in words]
    assert found_clusters(items, [threshold]) == plain_clusters(items, [threshold])


def test_every_part_must_be_alike() -> None:
    prompt, one, other = texts(3, 30)
    items = [tuple(map(shingles_of, parts)) for parts in [(prompt, one), (prompt, other), (prompt, changed(one, 1))]]
    assert found_clusters(items, [0.8, 0.8]) == {frozenset({0, 2}), frozenset({1})}


def test_a_large_cluster_of_copies_is_one() -> None:
    [words] = texts(1, 50)
    items = [(shingles_of([*words, f"end{number}"]),) for number in range(200)]
    assert found_clusters(items, [0.8]) == {frozenset(range(200))}


def test_the_similarity_is_that_of_sets_of_word_pairs() -> None:
    one, other = texts(2, 100)
    mixture = one[:60] + other[:40]
    pairs = [set(pairwise(words)) for words in (one, mixture)]
    expected = len(pairs[0] & pairs[1]) / len(pairs[0] | pairs[1])
    assert jaccard(shingles_of(one), shingles_of(mixture)) == pytest.approx(expected)


def test_of_very_long_texts_it_is_an_estimate() -> None:
    words = texts(1, 4000)[0]
    half = words[:2000] + texts(1, 2000, seed=9)[0]
    assert len(shingles_of(words)) == MOST_SHINGLES
    assert jaccard(shingles_of(words), shingles_of(half)) == pytest.approx(1 / 3, abs=0.06)
    assert jaccard(shingles_of(words), shingles_of(words)) == 1


def test_texts_of_at_most_one_word_equal_only_themselves() -> None:
    items = [(shingles_of(words),) for words in (["yes"], ["no"], ["yes"], [], [])]
    assert found_clusters(items, [0.6]) == {frozenset({0, 2}), frozenset({1}), frozenset({3, 4})}


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_or_one_has_no_neighbour(count: int) -> None:
    assert cluster_alike([(np.array([1], dtype=np.uint32),)] * count, [0.6]).tolist() == list(range(count))
