from itertools import chain

from hypothesis import given
from hypothesis import strategies as st

from preftune.planning import epoch_steps

units = st.lists(st.integers(0, 5), min_size=1, max_size=40)


@given(units, st.integers(1, 12), st.integers(0, 3), st.integers(0, 3), st.booleans())
def test_every_group_with_units_comes_once_in_an_epoch(
    num_units: list[int], batch_size: int, seed: int, epoch: int, shuffle: bool
) -> None:
    steps = epoch_steps(num_units, batch_size=batch_size, seed=seed, epoch=epoch, shuffle=shuffle)
    assert sorted(chain(*steps)) == [index for index, count in enumerate(num_units) if count]


@given(units, st.integers(1, 12))
def test_a_step_holds_at_most_the_batch_size_unless_one_group_is_bigger(num_units: list[int], batch_size: int) -> None:
    for step in epoch_steps(num_units, batch_size=batch_size, seed=0, epoch=0):
        assert len(step) == 1 or sum(num_units[index] for index in step) <= batch_size


def test_single_units_fill_each_step_to_the_batch_size() -> None:
    steps = epoch_steps([1] * 10, batch_size=4, seed=0, epoch=0)
    assert [len(step) for step in steps] == [4, 4, 2]


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    first = epoch_steps([1] * 50, batch_size=5, seed=7, epoch=1)
    assert epoch_steps([1] * 50, batch_size=5, seed=7, epoch=1) == first
    assert epoch_steps([1] * 50, batch_size=5, seed=7, epoch=2) != first
    assert epoch_steps([1] * 50, batch_size=5, seed=8, epoch=1) != first
