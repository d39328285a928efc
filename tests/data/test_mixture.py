"""What an epoch holds of each source."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preftune.data.mixture import Mixture
from preftune.errors import ConfigError


def mixture(sizes: list[int], weights: list[float], *, num_groups: int | None = None, seed: int = 0) -> Mixture:
    starts = [sum(sizes[:source]) for source in range(len(sizes))]
    members = [range(start, start + size) for start, size in zip(starts, sizes, strict=True)]
    names = [f"{source}.jsonl" for source in range(len(sizes))]
    return Mixture.of(members, weights, names, num_groups=num_groups, seed=seed)


@pytest.mark.parametrize(
    ("sizes", "weights", "counts"),
    [
        ([1000, 100], [0.5, 0.5], (100, 100)),
        ([1000, 100], [7, 3], (233, 100)),
        ([100, 1000], [0.9, 0.1], (100, 11)),
        ([60, 40], [0.6, 0.4], (60, 40)),
        ([10], [3], (10,)),
    ],
)
def test_an_epoch_is_as_large_as_it_can_be_if_nothing_comes_twice(
    sizes: list[int], weights: list[float], counts: tuple[int, ...]
) -> None:
    assert mixture(sizes, weights).counts == counts


def test_an_epoch_of_a_given_size_is_met_exactly_and_may_repeat() -> None:
    mixed = mixture([1000, 10], [2, 1], num_groups=100)
    assert mixed.counts == (67, 33)
    drawn = Counter(index for index in mixed.draw(0) if index >= 1000)
    assert set(drawn) == set(range(1000, 1010))
    assert sorted(drawn.values()) == [3] * 7 + [4] * 3


def test_epochs_go_through_a_source_before_anything_comes_again() -> None:
    mixed = mixture([90, 10], [0.5, 0.5])
    epochs = [mixed.draw(epoch) for epoch in range(9)]
    first = [index for epoch in epochs for index in epoch if index < 90]
    assert sorted(first) == list(range(90))
    assert all(sorted(index for index in epoch if index >= 90) == list(range(90, 100)) for epoch in epochs)


def test_draws_depend_only_on_seed_and_epoch() -> None:
    first = mixture([90, 10], [0.5, 0.5])
    assert first.draw(3) == mixture([90, 10], [0.5, 0.5]).draw(3)
    assert first.draw(0) != first.draw(1)
    assert first.draw(0) != mixture([90, 10], [0.5, 0.5], seed=1).draw(0)


@pytest.mark.parametrize(
    ("sizes", "weights", "num_groups", "problem"),
    [
        ([0, 10], [1, 1], None, "mix: 0.jsonl has 0 prompts and 50.00% of the weight"),
        ([10, 10], [1, 999], None, "mix: 0.jsonl has 10 prompts and 0.10% of the weight, so an epoch would contain"),
        ([10, 10], [1, 9], 3, "mix: 0.jsonl has 10 prompts and 10.00% of the weight"),
    ],
)
def test_a_source_that_an_epoch_would_hold_nothing_of_is_an_error(
    sizes: list[int], weights: list[float], num_groups: int | None, problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        mixture(sizes, weights, num_groups=num_groups)


sources = st.lists(st.tuples(st.integers(1, 40), st.floats(0.1, 10)), min_size=1, max_size=4)


@settings(max_examples=150, deadline=None, database=None)
@given(sources=sources, num_groups=st.none() | st.integers(1, 120), num_epochs=st.integers(1, 4))
def test_each_epoch_has_its_counts_and_no_group_comes_twice_more_than_another(
    sources: list[tuple[int, float]], num_groups: int | None, num_epochs: int
) -> None:
    sizes, weights = [size for size, _ in sources], [weight for _, weight in sources]
    try:
        mixed = mixture(sizes, weights, num_groups=num_groups)
    except ConfigError:
        return
    if num_groups is not None:
        assert sum(mixed.counts) == num_groups
    times: Counter[int] = Counter()
    for epoch in range(num_epochs):
        drawn = mixed.draw(epoch)
        times.update(drawn)
        for own, count in zip(mixed.members, mixed.counts, strict=True):
            assert sum(index in own for index in drawn) == count
        if num_groups is None:
            assert len(set(drawn)) == len(drawn)
        for own in mixed.members:
            for counted in (times, Counter(drawn)):
                counts = [counted[index] for index in own]
                assert max(counts) - min(counts) <= 1
