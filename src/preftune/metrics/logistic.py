"""Logistic regression on a few features, for many weightings at once."""

import numpy as np

from preftune.metrics.intervals import FloatArray

_STEPS = 50
_LONGEST_STEP = 4.0
_RIDGE = 0.001
"""A normal prior of standard deviation 32 on each coefficient: it matters only if all outcomes are equal."""


def fit_logistic(
    features: FloatArray, outcomes: FloatArray, weights: FloatArray, *, ridge: float = _RIDGE
) -> FloatArray:
    """Maximum-likelihood coefficients, by Newton's method.

    minimises  -sum over rows of weight * (y log p + (1 - y) log(1 - p)) + ridge / 2 * |b|^2,  p = sigmoid(features b)

    Args:
        features: Shape: (row, feature). A column of ones makes an intercept.
        outcomes: In [0, 1]. Shape: (row,).
        weights: Weight of each row in each fit. Shape: (fit, row).
        ridge: Keeps coefficients finite if the outcomes are separable, > 0.
    Returns:
        Shape: (fit, feature).

    >>> ones = np.ones((4, 1))
    >>> fit_logistic(ones, np.array([1.0, 1.0, 1.0, 0.0]), np.ones((1, 4)), ridge=1e-9).round(4)  # log 3
    array([[1.0986]])
    """
    num_features = features.shape[1]
    coefficients = np.zeros((len(weights), num_features))
    for _ in range(_STEPS):
        predicted = sigmoid(coefficients @ features.T)
        slope = (weights * (predicted - outcomes)) @ features + ridge * coefficients
        spread = weights * predicted * (1 - predicted)
        curvature = np.einsum("fr,ri,rj->fij", spread, features, features, optimize=True) + ridge * np.eye(num_features)
        step = np.linalg.solve(curvature, slope[:, :, None])[:, :, 0]
        length = np.abs(step).max(axis=1, keepdims=True)
        step *= np.minimum(1, _LONGEST_STEP / np.maximum(length, 1e-12))
        coefficients = coefficients - step
        if length.max() < 1e-10:
            break
    return coefficients


def sigmoid(values: FloatArray) -> FloatArray:
    """1 / (1 + exp(-x)), without overflow.

    >>> sigmoid(np.array([-800.0, 0.0]))
    array([0. , 0.5])
    """
    found: FloatArray = np.exp(-np.logaddexp(0, -values))
    return found
