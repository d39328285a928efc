import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from preftune.metrics.logistic import fit_logistic, sigmoid


@pytest.mark.parametrize("ridge", [0.01, 1.0])
def test_coefficients_are_those_of_scikit_learn(ridge: float) -> None:
    rng = np.random.default_rng(0)
    features = np.stack([np.ones(300), rng.normal(size=300)], axis=1)
    outcomes = (rng.random(300) < sigmoid(features @ np.array([0.5, -1.0]))).astype(float)
    weights = rng.integers(0, 4, size=(3, 300)).astype(float)
    found = fit_logistic(features, outcomes, weights, ridge=ridge)
    for own, row in zip(found, weights, strict=True):
        theirs = LogisticRegression(C=1 / ridge, fit_intercept=False, tol=1e-10, max_iter=1000)
        theirs.fit(features, outcomes, sample_weight=row)
        assert own == pytest.approx(theirs.coef_[0], abs=1e-4)


def test_half_an_outcome_is_a_win_and_a_loss_of_half_the_weight() -> None:
    features = np.stack([np.ones(3), np.array([-1.0, 0.0, 2.0])], axis=1)
    halves = fit_logistic(features, np.array([0.0, 0.5, 1.0]), np.ones((1, 3)))
    split = fit_logistic(features[[0, 1, 1, 2]], np.array([0.0, 1.0, 0.0, 1.0]), np.array([[1.0, 0.5, 0.5, 1.0]]))
    assert halves == pytest.approx(split)


def test_outcomes_that_can_be_distinguished_perfectly_have_finite_coefficients() -> None:
    features = np.stack([np.ones(200), np.linspace(-1, 1, 200)], axis=1)
    found = fit_logistic(features, (features[:, 1] > 0).astype(float), np.ones((1, 200)))
    assert np.isfinite(found).all()
    assert found[0, 1] > 10
    only_wins = fit_logistic(np.ones((50, 1)), np.ones(50), np.ones((1, 50)))
    assert 4 < only_wins[0, 0] < 20
