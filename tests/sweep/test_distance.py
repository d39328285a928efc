import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from preftune.sweep.distance import Curve, gap_between, gap_of
from tests.sweep.made_up import evaluated, pooled

KLS = st.lists(st.integers(0, 50), min_size=2, max_size=6, unique=True)


def curve(*points: tuple[float, float]) -> Curve:
    kls, values = zip(*points, strict=True)
    return Curve(np.array(kls, dtype=float), np.array(values, dtype=float))


def test_lines_that_cross_in_the_middle_have_no_mean_distance() -> None:
    gap = gap_between(curve((0, 0), (2, 2)), curve((0, 2), (2, 0)))
    assert gap is not None
    assert gap.mean == pytest.approx(0.0)


def test_a_corner_of_either_curve_counts_exactly() -> None:
    gap = gap_between(curve((0, 0), (1, 4), (4, 4)), curve((-1, 0), (3, 0), (9, 0)))
    assert gap is not None
    assert (gap.low, gap.high) == (0.0, 4.0)
    assert gap.mean == pytest.approx((2 + 12) / 4)


def test_points_of_the_same_kl_count_by_their_mean() -> None:
    gap = gap_between(curve((0, 1), (1, 0), (1, 2), (2, 1)), curve((0, 0), (2, 0)))
    assert gap is not None
    assert gap.mean == pytest.approx(1.0)


def test_curves_that_share_no_range_have_no_distance() -> None:
    assert gap_between(curve((0, 0), (1, 1)), curve((1, 0), (2, 1))) is None


@given(KLS, st.integers(-5, 5))
def test_a_curve_moved_up_is_as_far_away_as_it_was_moved(kls: list[int], shift: int) -> None:
    values = [float(kl % 7) for kl in kls]
    lower = Curve(np.array(kls, dtype=float), np.array(values))
    upper = Curve(lower.kls, lower.values + shift)
    gap = gap_between(upper, lower)
    assert gap is not None
    assert gap.mean == pytest.approx(shift)
    opposite = gap_between(lower, upper)
    assert opposite is not None
    assert opposite.mean == pytest.approx(-shift)


def test_a_gap_that_every_prompt_agrees_on_is_sure() -> None:
    found = pooled(
        a=evaluated(1.0, 1.0, spread=0.0), b=evaluated(3.0, 3.0, spread=0.0),
        c=evaluated(2.0, 1.0, spread=0.0), d=evaluated(4.0, 3.0, spread=0.0),
    )  # fmt: skip
    gap = gap_of([found["c"], found["d"]], [found["a"], found["b"]], 0.95)
    assert gap is not None
    assert (gap.mean.value, gap.mean.low, gap.mean.high) == pytest.approx((1.0, 1.0, 1.0))
    assert (gap.low, gap.high) == (1.0, 3.0)


def test_its_interval_is_paired_by_prompt() -> None:
    found = pooled(
        a=evaluated(1.0, 1.0, spread=0.4), b=evaluated(3.0, 3.0, spread=0.4),
        c=evaluated(2.0, 1.0, spread=0.4), d=evaluated(4.0, 3.0, spread=0.4),
    )  # fmt: skip
    gap = gap_of([found["c"], found["d"]], [found["a"], found["b"]], 0.95)
    assert gap is not None
    assert gap.mean.high - gap.mean.low < 0.01  # the prompts move both curves alike
    assert found["a"].value.high - found["a"].value.low > 0.1


def test_one_point_is_no_curve() -> None:
    found = pooled(a=evaluated(1.0, 1.0), b=evaluated(3.0, 3.0))
    assert gap_of([found["a"]], [found["a"], found["b"]], 0.95) is None


def test_only_the_kls_within_count() -> None:
    upper, lower = curve((0, 0), (4, 4)), curve((0, 0), (4, 0))
    gap = gap_between(upper, lower, within=(2, 9))
    assert gap is not None
    assert (gap.mean, gap.low, gap.high) == (3.0, 2.0, 4.0)
    assert gap_between(upper, lower, within=(4, 9)) is None
