from itertools import chain

from hypothesis import given
from hypothesis import strategies as st

from preftune.planning.sizes import TOKENS, GroupSize, Layout, WorkModel
from preftune.planning.step import MicroBatchShape, plan_step
from preftune.planning.summary import work_of_ranks

KEYS = WorkModel(per_token=0, per_target=0, per_attended_key=1)
REAL = WorkModel(per_token=100, per_target=20, per_attended_key=1)

lengths = st.integers(1, 20)
group_sizes = st.builds(GroupSize, lengths, st.lists(lengths, min_size=1, max_size=4).map(tuple), st.just(1))
layouts: st.SearchStrategy[Layout] = st.sampled_from(["sequences", "packed"])


@given(group_sizes)
def test_packed_attention_is_counted_query_by_query(size: GroupSize) -> None:
    by_prompt = sum(place + 1 for place in range(size.prompt))
    by_completions = sum(size.prompt + place + 1 for length in size.completions for place in range(length))
    assert KEYS.of_group(size, "packed") == by_prompt + by_completions


@given(group_sizes)
def test_padded_rows_attend_as_rows_of_the_longest_length(size: GroupSize) -> None:
    row = sum(place + 1 for place in range(size.longest_sequence))
    assert KEYS.of_group(size, "sequences") == len(size.completions) * row


@given(group_sizes)
def test_sharing_the_prompt_never_costs_more(size: GroupSize) -> None:
    assert REAL.of_group(size, "packed") <= REAL.of_group(size, "sequences")


@given(st.lists(group_sizes, max_size=5), layouts)
def test_the_work_in_tokens_is_the_tokens_that_the_model_sees(sizes: list[GroupSize], layout: Layout) -> None:
    assert TOKENS.of_groups(sizes, layout) == MicroBatchShape.of(sizes).num_tokens(layout)


def test_balancing_by_work_beats_balancing_by_tokens_where_attention_differs() -> None:
    # 100 tokens each, that see 4,950 or 2,649 keys. Dealt in turn, one rank gets both groups that see many.
    long, short = GroupSize(80, (10, 10), 1), GroupSize(2, (49, 49), 1)
    sizes = [long, short, long, short]
    work = WorkModel(per_token=1, per_target=0, per_attended_key=1)

    def busiest(balanced_by: WorkModel) -> float:
        plan = plan_step(range(4), sizes, num_ranks=2, max_tokens=100, layout="packed", work=balanced_by)
        assert sorted(chain(*chain(*plan.ranks))) == [0, 1, 2, 3]
        return max(work_of_ranks(plan, sizes, "packed", work))

    assert long.packed_tokens == short.packed_tokens == 100
    assert busiest(TOKENS) == 2 * (100 + 4950)
    assert busiest(work) == (100 + 4950) + (100 + 2649)


@given(st.lists(group_sizes, min_size=8, max_size=20), layouts)
def test_no_rank_has_more_work_than_the_others_by_over_one_group(sizes: list[GroupSize], layout: Layout) -> None:
    plan = plan_step(range(len(sizes)), sizes, num_ranks=3, max_tokens=1, layout=layout, work=REAL)
    loads = work_of_ranks(plan, sizes, layout, REAL)
    assert max(loads) - min(loads) <= max(REAL.of_group(size, layout) for size in sizes)
