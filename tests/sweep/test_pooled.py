import numpy as np
import pytest

from preftune.sweep.pooled import difference, pool
from tests.sweep.made_up import BOOTSTRAP, evaluated, pooled


def test_models_on_the_same_prompts_are_compared_prompt_by_prompt() -> None:
    found = pooled(a=evaluated(1.0, 1.0, spread=1.0), b=evaluated(1.1, 1.0, spread=1.0))
    gap = difference(found["b"], found["a"], 0.95)
    assert (gap.value, gap.low, gap.high) == pytest.approx((0.1, 0.1, 0.1))
    assert found["a"].value.high > found["b"].value.low  # their own intervals overlap


def test_models_on_other_prompts_are_not() -> None:
    found = pooled(a=evaluated(1.0, 1.0, spread=1.0), b=evaluated(1.1, 1.0, spread=1.0, prefix="q"))
    gap = difference(found["b"], found["a"], 0.95)
    assert gap.low < 0 < gap.high


def test_the_mean_over_seeds_counts() -> None:
    found = pooled(a=[evaluated(1.0, 2.0), evaluated(3.0, 4.0)], b=[evaluated(1.0, 2.0), evaluated(1.0, 2.0)])
    assert (found["a"].value.value, found["a"].kl.value) == (2.0, 3.0)


def test_intervals_over_seeds_hold_what_other_seeds_would_change() -> None:
    found = pooled(
        a=[evaluated(1.0, 2.0), evaluated(3.0, 2.0)], b=[evaluated(7.0, 2.0), evaluated(9.0, 2.0)]
    )  # one standard deviation between seeds: sqrt(2), known from two degrees of freedom
    half_width = (found["a"].value.high - found["a"].value.low) / 2
    assert half_width == pytest.approx(4.3, rel=0.35)  # sqrt(2) / sqrt(2) * quantile of Student's t, 4.30
    assert found["a"].kl.high == pytest.approx(found["a"].kl.low)
    gap = difference(found["b"], found["a"], 0.95)
    assert gap.value == 6.0
    assert gap.low < 2.5


def test_one_seed_adds_nothing() -> None:
    one = pool({"a": [evaluated(1.0, 2.0)]}, "score", BOOTSTRAP)["a"]
    assert np.ptp(one.value_draws) == 0


def test_shares_of_all_seeds_that_are_one_still_have_a_width() -> None:
    found = pool({"a": [evaluated(1.0, 2.0), evaluated(1.0, 2.0)]}, "accuracy", BOOTSTRAP)["a"]
    assert found.value.low < 1.0 == found.value.high
