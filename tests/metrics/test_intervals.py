import math

import numpy as np
import pytest
from scipy import stats

from preftune.metrics.intervals import Bootstrap, FloatArray, Interval, ratio_of, sums_by_prompt


def mean_interval(values: FloatArray, bootstrap: Bootstrap) -> Interval:
    return bootstrap.interval(ratio_of(values, np.ones_like(values)), len(values))


@pytest.fixture(scope="module")
def skewed() -> FloatArray:
    return np.random.default_rng(0).exponential(size=400)


def test_the_interval_of_a_mean_is_that_of_scipy(skewed: FloatArray) -> None:
    found = mean_interval(skewed, Bootstrap(num_resamples=10_000))
    theirs = stats.bootstrap((skewed,), np.mean, n_resamples=10_000, method="percentile", rng=1)
    assert found.value == pytest.approx(skewed.mean())
    assert found.standard_error == pytest.approx(theirs.standard_error, rel=0.03)
    assert found.low == pytest.approx(theirs.confidence_interval.low, abs=0.005)
    assert found.high == pytest.approx(theirs.confidence_interval.high, abs=0.005)


@pytest.mark.parametrize("confidence", [0.5, 0.8, 0.99])
def test_a_confidence_is_that_of_scipy(confidence: float, skewed: FloatArray) -> None:
    found = mean_interval(skewed, Bootstrap(num_resamples=10_000, confidence=confidence))
    theirs = stats.bootstrap(
        (skewed,), np.mean, n_resamples=10_000, method="percentile", confidence_level=confidence, rng=1
    )
    assert found.high - found.low == pytest.approx(np.ptp(theirs.confidence_interval), rel=0.06)


def test_few_prompts_have_intervals_as_wide_as_those_by_student() -> None:
    values = np.random.default_rng(0).normal(size=8)
    found = mean_interval(values, Bootstrap(num_resamples=20_000))
    by_student = stats.t.interval(0.95, 7, loc=values.mean(), scale=stats.sem(values))
    assert found.high - found.low == pytest.approx(np.ptp(by_student), rel=0.08)


def test_pairs_of_one_prompt_are_drawn_together() -> None:
    values = np.repeat(np.random.default_rng(0).normal(size=50), 20)
    prompts = np.repeat(np.arange(50), 20)
    bootstrap = Bootstrap(num_resamples=4000)
    together = bootstrap.interval(ratio_of(sums_by_prompt(values, prompts, 50), np.full(50, 20.0)), 50)
    apart = mean_interval(values, bootstrap)
    assert together.value == pytest.approx(apart.value)
    assert together.standard_error == pytest.approx(apart.standard_error * math.sqrt(20), rel=0.1)


def test_the_same_seed_draws_the_same_prompts_for_any_memory(
    skewed: FloatArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = mean_interval(skewed, Bootstrap(num_resamples=50, seed=3))
    monkeypatch.setattr("preftune.metrics.intervals._NUMBERS_AT_ONCE", 1000)
    again, other = (mean_interval(skewed, Bootstrap(num_resamples=50, seed=seed)) for seed in (3, 4))
    assert (again.low, again.high) == pytest.approx((found.low, found.high), rel=1e-12)
    assert other.low != pytest.approx(found.low, rel=1e-12)


def test_a_single_prompt_has_no_interval() -> None:
    found = mean_interval(np.array([2.0]), Bootstrap())
    assert found.value == 2.0
    assert math.isnan(found.low)
    assert math.isnan(found.standard_error)


def test_a_share_of_0_or_1_has_the_clopper_pearson_bound() -> None:
    for hits in (0, 12):
        found = Bootstrap().share(ratio_of(np.full(12, hits / 12), np.ones(12)), 12)
        exact = stats.binomtest(hits, 12).proportion_ci(0.95, "exact")
        assert (found.low, found.high) == pytest.approx((exact.low, exact.high))


def test_a_ratio_weighs_prompts_by_their_pairs() -> None:
    found = Bootstrap().interval(ratio_of(np.array([3.0, 0.0]), np.array([3.0, 1.0])), 2)
    assert found.value == 0.75


def test_no_prompts_and_values_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="there are no prompts"):
        Bootstrap().draws(ratio_of(np.zeros(0), np.zeros(0)), 0)
    with pytest.raises(ValueError, match="num_resamples = 0"):
        Bootstrap(num_resamples=0)
    with pytest.raises(ValueError, match=r"confidence = 1\.0"):
        Bootstrap(confidence=1.0)
