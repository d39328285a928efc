import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from preftune.evaluation.calibration import calibrate
from preftune.metrics.intervals import Bootstrap
from tests.evaluation.pair_tables import pair_table

BOOTSTRAP = Bootstrap(num_resamples=200)


def margins_of(share_right: float, confidence: float, count: int) -> list[float]:
    """Margins of one size, of which so many have the right sign."""
    size = float(np.log(confidence / (1 - confidence)))
    return [size if place < share_right * count else -size for place in range(count)]


def test_a_bin_holds_how_sure_the_model_is_and_how_often_it_is_right() -> None:
    found = calibrate(pair_table(margins_of(0.5, 0.82, 40) + margins_of(1.0, 0.97, 10)), BOOTSTRAP)
    first, second = found.bins
    assert (first.low, first.high, first.num_pairs) == pytest.approx((0.8, 0.85, 40))
    assert (first.confidence, first.accuracy.value) == pytest.approx((0.82, 0.5))
    assert (second.num_pairs, second.accuracy.value) == (10, 1.0)
    assert found.expected_error.value == pytest.approx(0.8 * 0.32 + 0.2 * 0.03)


def test_the_curve_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    margins = rng.normal(0.5, 1.5, size=500)
    found = calibrate(pair_table(margins.tolist()), BOOTSTRAP, num_bins=10)
    sure = 1 / (1 + np.exp(-np.abs(margins)))
    right, predicted = calibration_curve(margins > 0, 2 * sure - 1, n_bins=10)
    assert [part.accuracy.value for part in found.bins] == pytest.approx(list(right))
    assert [part.confidence for part in found.bins] == pytest.approx(list((predicted + 1) / 2))


def test_the_calibration_error_by_chance_is_stated() -> None:
    rng = np.random.default_rng(0)
    sizes = rng.exponential(1.0, size=400)
    margins = np.where(rng.random(400) < 1 / (1 + np.exp(-sizes)), sizes, -sizes)
    found = calibrate(pair_table(margins.tolist()), BOOTSTRAP)
    assert found.expected_error.value == pytest.approx(found.expected_error_if_calibrated, abs=0.03)
    assert found.expected_error_if_calibrated > 0.02
    assert found.expected_error.low == 0.0


def test_the_interval_narrows_with_the_number_of_pairs() -> None:
    few, many = (calibrate(pair_table(margins_of(0.6, 0.9, count)), BOOTSTRAP) for count in (50, 2000))
    assert few.expected_error.value == pytest.approx(many.expected_error.value)
    widths = [found.expected_error.high - found.expected_error.low for found in (few, many)]
    assert widths[1] < widths[0] / 4
    assert many.expected_error.low > 0.25


def test_a_tie_is_half_right_at_even_odds() -> None:
    found = calibrate(pair_table([0.0, 0.0]), BOOTSTRAP)
    (only,) = found.bins
    assert (only.confidence, only.accuracy.value, found.expected_error.value) == (0.5, 0.5, 0.0)


def test_a_sure_model_is_in_the_last_bin() -> None:
    (only,) = calibrate(pair_table([1000.0, 1000.0]), BOOTSTRAP).bins
    assert (only.high, only.confidence) == (1.0, 1.0)
