from itertools import chain

from hypothesis import given
from hypothesis import strategies as st

from preftune.planning.sizes import GroupSize, Layout
from preftune.planning.step import MicroBatchShape, epoch_steps, plan_step

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


def test_the_order_depends_only_on_seed_and_epoch() -> None:
    first = epoch_steps([1] * 50, batch_size=5, seed=7, epoch=1)
    assert epoch_steps([1] * 50, batch_size=5, seed=7, epoch=1) == first
    assert epoch_steps([1] * 50, batch_size=5, seed=7, epoch=2) != first
    assert epoch_steps([1] * 50, batch_size=5, seed=8, epoch=1) != first


lengths = st.integers(1, 30)
group_sizes = st.builds(GroupSize, lengths, st.lists(lengths, min_size=1, max_size=4).map(tuple), st.just(1))
layouts: st.SearchStrategy[Layout] = st.sampled_from(["sequences", "packed"])


def tokens(groups: tuple[int, ...], sizes: list[GroupSize], layout: Layout) -> int:
    shape = MicroBatchShape()
    for group in groups:
        shape = shape.with_group(sizes[group])
    return shape.num_tokens(layout)


@given(st.lists(group_sizes, min_size=1, max_size=12), st.integers(1, 4), st.integers(1, 200), layouts)
def test_a_plan_holds_each_group_once_in_as_many_micro_batches_on_every_rank_within_the_budget(
    sizes: list[GroupSize], num_ranks: int, max_tokens: int, layout: Layout
) -> None:
    groups = list(range(len(sizes)))
    plan = plan_step(groups, sizes, num_ranks=num_ranks, max_tokens=max_tokens, layout=layout)
    assert sorted(chain(*chain(*plan.ranks))) == groups
    assert len({len(micro_batches) for micro_batches in plan.ranks}) == 1
    for micro_batch in chain(*plan.ranks):
        assert len(micro_batch) <= 1 or tokens(micro_batch, sizes, layout) <= max_tokens


@given(st.lists(group_sizes, min_size=8, max_size=20))
def test_no_rank_has_more_than_the_others_by_over_one_group(sizes: list[GroupSize]) -> None:
    plan = plan_step(range(len(sizes)), sizes, num_ranks=3, max_tokens=10**6, layout="packed")
    loads = [sum(sizes[group].packed_tokens for group in chain(*rank)) for rank in plan.ranks]
    assert max(loads) - min(loads) <= max(size.packed_tokens for size in sizes)


def test_a_packed_prompt_counts_once_and_sequences_count_their_padding() -> None:
    shape = MicroBatchShape().with_group(GroupSize(10, (1, 5), 1)).with_group(GroupSize(2, (3,), 0))
    assert shape.num_tokens("packed") == 10 + 1 + 5 + 2 + 3
    assert shape.num_tokens("sequences") == 3 * 15
