"""Calibration of implicit rewards: margins as log-odds of being preferred."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from preftune.evaluation.pairs import PairTable
from preftune.metrics.intervals import Bootstrap, FloatArray, IntArray, Interval, ratio_of, sums_by_prompt
from preftune.metrics.logistic import sigmoid

_NUM_SIMULATIONS = 200


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Pairs of similar confidence.

    Args:
        low, high: Bounds of the probability that the model assigns to the completion it prefers.
        confidence: Mean of that probability.
        accuracy: Share of the pairs whose label agrees.
    """

    low: float
    high: float
    num_pairs: int
    confidence: float
    accuracy: Interval


@dataclass(frozen=True, slots=True)
class Calibration:
    """Agreement of the model's probabilities with the labels.

    Args:
        bins: The reliability curve, by increasing confidence; empty bins are left out.
        expected_error: Mean distance of accuracy and confidence over the bins, weighted by their pairs.
        expected_error_if_calibrated: Its mean for labels drawn with the model's own probabilities. The estimate is
            never below 0, so chance alone makes it positive.
        log_loss: Mean of -log p(chosen beats rejected). Unit: nats; ln 2 at chance.
    """

    bins: tuple[ReliabilityBin, ...]
    expected_error: Interval
    expected_error_if_calibrated: float
    log_loss: Interval


def calibrate(table: PairTable, bootstrap: Bootstrap, *, num_bins: int = 10) -> Calibration:
    """Compare sigmoid(|margin|) with the share of pairs in which the model prefers the chosen completion.

    p               = sigmoid(|margin|), in [0.5, 1], cut into `num_bins` bins of equal width
    expected error  = sum over bins b of (pairs in b / pairs) * |accuracy(b) - mean p(b)|

    Its interval is expected error -+ c, where c is the quantile over resamples of the sum over bins of the change of
    each term before its absolute value is taken. By the triangle inequality its coverage is at least nominal, also for
    a calibrated model, whose error the percentiles of resamples never cover because they are biased upwards.

    Args:
        num_bins: Bins of the reliability curve, >= 1.
    Source: Guo et al. 2017, arXiv:1706.04599, Eq. 3, for the Bradley-Terry model; the bias: Kumar et al. 2019,
        arXiv:1909.10155.
    Differs: bins cover [0.5, 1]. With p below 0.5 the bin would depend on which completion is called chosen.
    """
    confidence = sigmoid(np.abs(table.margin))
    places = np.minimum((2 * (confidence - 0.5) * num_bins).astype(np.int64), num_bins - 1)
    losses = np.logaddexp(0, -table.margin)
    return Calibration(
        bins=tuple(_bins(table, confidence, places, num_bins, bootstrap)),
        expected_error=_expected_error(table, confidence, places, num_bins, bootstrap),
        expected_error_if_calibrated=_error_if_calibrated(confidence, places, num_bins, bootstrap.seed),
        log_loss=bootstrap.interval(table.mean_of(losses), table.num_prompts),
    )


def _bins(
    table: PairTable, confidence: FloatArray, places: IntArray, num_bins: int, bootstrap: Bootstrap
) -> Iterator[ReliabilityBin]:
    edges = np.linspace(0.5, 1, num_bins + 1)
    for place in np.unique(places):
        inside = places == place
        part = table.only(inside)
        yield ReliabilityBin(
            low=float(edges[place]),
            high=float(edges[place + 1]),
            num_pairs=len(part),
            confidence=float(confidence[inside].mean()),
            accuracy=bootstrap.share(part.mean_of(part.is_right), part.num_prompts),
        )


def _expected_error(
    table: PairTable, confidence: FloatArray, places: IntArray, num_bins: int, bootstrap: Bootstrap
) -> Interval:
    num_prompts = table.num_prompts
    cells = table.prompts * num_bins + places
    gaps = sums_by_prompt(table.is_right - confidence, cells, num_prompts * num_bins).reshape(-1, num_bins)
    counts = sums_by_prompt(np.ones(len(table)), table.prompts, num_prompts)[:, None]
    # (accuracy - confidence) of each bin times its share of the pairs. Shape: (resample, bin).
    statistic = ratio_of(gaps, counts)
    found = bootstrap.estimate(statistic, num_prompts)
    value = float(np.abs(found).sum())
    if num_prompts == 1:
        return Interval(value, np.nan, np.nan, np.nan, 1)
    draws = bootstrap.draws(statistic, num_prompts)
    reach = float(np.quantile(np.abs(draws - found).sum(1), bootstrap.confidence))
    spread = float(np.abs(draws).sum(1).std(ddof=1)) if len(draws) > 1 else np.nan
    return Interval(value, max(0.0, value - reach), min(1.0, value + reach), spread, num_prompts)


def _error_if_calibrated(confidence: FloatArray, places: IntArray, num_bins: int, seed: int) -> float:
    """Mean expected error of labels drawn with the model's own probabilities."""
    rng = np.random.default_rng(seed)
    errors = []
    for _ in range(_NUM_SIMULATIONS):
        gaps = (rng.random(len(confidence)) < confidence) - confidence
        errors.append(np.abs(np.bincount(places, weights=gaps, minlength=num_bins)).sum() / len(confidence))
    return float(np.mean(errors))
