from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from preftune.sweep.analysis import on_frontier

POINTS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=12)


def test_the_same_point_twice_is_on_it_twice() -> None:
    assert on_frontier([1.0, 1.0], [0.5, 0.5]) == [True, True]


def test_of_the_same_kl_the_higher_value_is_on_it() -> None:
    assert on_frontier([1.0, 1.0], [0.5, 0.6]) == [False, True]


@given(POINTS)
def test_points_off_the_frontier_are_dominated_by_points_on_it(points: list[tuple[int, int]]) -> None:
    marks = on_frontier([float(kl) for kl, _ in points], [float(value) for _, value in points])
    best = [point for point, mark in zip(points, marks, strict=True) if mark]
    assert best
    for (kl, value), mark in zip(points, marks, strict=True):
        if not mark:
            assert any(other_kl <= kl and other_value >= value for other_kl, other_value in best)


@given(POINTS)
def test_along_it_value_rises_with_kl(points: list[tuple[int, int]]) -> None:
    marks = on_frontier([float(kl) for kl, _ in points], [float(value) for _, value in points])
    best = sorted({point for point, mark in zip(points, marks, strict=True) if mark})
    assert all(first[1] < second[1] for first, second in pairwise(best))
