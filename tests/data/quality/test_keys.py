import random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from preftune.data.quality.keys import KeyLog, Places, Sample, key_of, mixed, mixed_key
from preftune.groups import Origin


def sampled(keys: list[int], size: int, *, seed: int = 0) -> list[int]:
    sample = Sample[int](size, seed=seed)
    for key in keys:
        if sample.wants(key):
            sample.add(key, key)
    return sample.items()


@given(st.lists(st.integers(0, 2**64 - 1), max_size=60), st.randoms(use_true_random=False))
def test_the_order_of_the_stream_and_repeats_do_not_matter(keys: list[int], rng: random.Random) -> None:
    shuffled = rng.sample(keys * 2, 2 * len(keys))
    assert sampled(keys, 10) == sampled(shuffled, 10)
    assert len(sampled(keys, 10)) == min(10, len(set(keys)))


def test_each_key_is_as_likely_as_any_other() -> None:
    counts = [sum(key < 50 for key in sampled(list(range(100)), 20, seed=seed)) for seed in range(300)]
    assert abs(np.mean(counts) - 10) < 0.5


def test_a_sample_knows_whether_it_has_all() -> None:
    sample = Sample[int](2, seed=0)
    for key in (1, 2, 1):
        if sample.wants(key):
            sample.add(key, key)
    assert sample.is_all
    sample.wants(3)
    assert not sample.is_all


def test_keys_depend_only_on_order_and_text() -> None:
    assert key_of("a") != key_of("b")
    assert mixed_key(1, 2) != mixed_key(2, 1)
    one, other = (np.array(keys, dtype=np.uint64) for keys in ([1, 2], [2, 1]))
    assert mixed(one, other)[0] != mixed(other, one)[0]
    assert mixed(one, other)[0] == mixed(other, one)[1]


@given(st.lists(st.sampled_from("abcde"), max_size=30))
def test_repeats_are_all_but_the_first_of_each_key(texts: list[str]) -> None:
    log = KeyLog()
    for place, text in enumerate(texts):
        log.add(key_of(text), place)
    expected = [(place, texts.index(text)) for place, text in enumerate(texts) if texts.index(text) < place]
    repeats = log.repeats()
    assert list(zip(repeats.places.tolist(), repeats.first.tolist(), strict=True)) == expected


def test_places_are_origins_in_their_order() -> None:
    places, origins = Places(), [Origin("b", 7), Origin("a", 1), Origin("b", 2**39)]
    numbers = [places.of(origin) for origin in origins]
    assert [places.origin(number) for number in numbers] == origins
    assert places.sources == ("b", "a")
    assert numbers[0] < numbers[2] < numbers[1]
