"""Estimate of flipped labels from the margins of a model."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from scipy.optimize import brentq, minimize_scalar
from torch import Tensor

_CHI_SQUARE_95 = 3.841458820694124
"""Twice the drop of the log-likelihood at the ends of a 95 % interval of one parameter."""

_SCALES = (1e-3, 1e3)
"""Range of the scale, as multiples of the inverse median size of a margin."""

_PRECISION = 1e-6


@dataclass(frozen=True, slots=True)
class WrongSigns:
    """One point of the confusion curve: the pairs whose margin has at least a given size.

    Args:
        threshold: Minimum size of the margin.
        wrong: Share of them that the model would label the other way; a margin of 0 counts half.
    """

    threshold: float
    num_pairs: int
    wrong: float


@dataclass(frozen=True, slots=True, eq=False)
class LabelNoise:
    """Estimated flips of labels.

    Args:
        margins: Implicit reward of the chosen minus that of the rejected completion. Shape: (pair,).
        scale: Log-odds per unit of margin: 1 for calibrated margins, above 1 for underconfident ones.
        flip_rate: Estimated share of labels that are flipped, in [0, 0.5].
        interval: 95 % interval of the flip rate by the likelihood ratio, for independent pairs.
        flipped: Probability that the label is flipped. Shape: (pair,).
    """

    margins: Tensor
    scale: float
    flip_rate: float
    interval: tuple[float, float]
    flipped: Tensor

    @property
    def ranking(self) -> Tensor:
        """Indices of the pairs, the likeliest flipped first. Shape: (pair,).

        >>> label_noise(torch.tensor([2.0, -3.0, 1.0, 4.0])).ranking
        tensor([1, 2, 0, 3])
        """
        return self.margins.argsort(stable=True)

    @property
    def wrong(self) -> float:
        """Share of pairs that the model would label the other way; a margin of 0 counts half."""
        return _wrong(self.margins)

    def expected_found(self, num_pairs: int) -> float:
        """Expected number of flipped labels among the first `num_pairs` of the ranking."""
        return self.flipped[self.ranking[:num_pairs]].sum().item()

    def wrong_signs(self, num_points: int = 10) -> tuple[WrongSigns, ...]:
        """The confusion curve: share of wrong signs by minimum size of the margin, at equal steps of pairs.

        Where the curve flattens, the remaining errors are flips rather than near-ties: that level is the flip rate.

        >>> for point in label_noise(torch.tensor([1.0, -2.0, 3.0, 4.0])).wrong_signs(2):
        ...     print(point)
        WrongSigns(threshold=1.0, num_pairs=4, wrong=0.25)
        WrongSigns(threshold=3.0, num_pairs=2, wrong=0.0)
        """
        sizes = self.margins.abs().sort().values
        starts = sorted({len(sizes) * point // num_points for point in range(num_points)})
        thresholds = dict.fromkeys(sizes[start].item() for start in starts)
        return tuple(_point(self.margins, threshold) for threshold in thresholds)


def label_noise(margins: Tensor, *, scale: float | None = None) -> LabelNoise:
    """Estimate the share of flipped labels, and the probability of a flip for each label.

    A label is drawn by the Bradley-Terry model and then flipped with probability e:

    p(label | margin)   = (1 - e) * sigmoid(scale * margin) + e * sigmoid(-scale * margin)
    p(flipped | margin) = sigmoid(log(e / (1 - e)) - scale * margin)

    e and the scale maximize the likelihood jointly. Pairs with small margins may have either label at any e, so errors
    at large margins determine e. This is the fixed point of EM, whose M-step sets e to the mean of
    p(flipped | margin), found directly.

    Args:
        margins: Implicit reward of the chosen minus that of the rejected completion, best of a model
            that was not trained on these labels: flips that it has memorised stay hidden. Shape: (pair,).
        scale: Fixed scale, > 0, such as 1 for margins that are log-odds. Default: estimated, since margins are too
            small after a short run and too large after a long one.
    Raises:
        ValueError: no margins, one that is NaN or infinite, all of them 0, or a scale out of its range.
    Source: the noise model is that of Chowdhury et al. 2024 (robust DPO), arXiv:2403.00409.
    Differs: the paper assumes a known e; here it is estimated, and margins are scaled.

    >>> noise = label_noise(torch.tensor([9.0] * 8 + [-9.0] * 2), scale=1.0)  # two of ten wrong, where it is sure
    >>> round(noise.flip_rate, 3), [round(end, 2) for end in noise.interval]
    (0.2, [0.04, 0.5])
    """
    _check(margins, scale)
    wide = margins.detach().cpu().double()
    profile = _Profile(wide, scale)
    flip_rate = _best(lambda rate: profile(rate)[0], 0.0, 0.5)
    best, found = profile(flip_rate)
    log_odds = math.log(flip_rate) - math.log1p(-flip_rate) if flip_rate > 0 else -math.inf
    interval = _interval(lambda rate: best - profile(rate)[0] - _CHI_SQUARE_95 / 2, flip_rate)
    return LabelNoise(wide, found, flip_rate, interval, torch.sigmoid(log_odds - found * wide))


@dataclass(frozen=True, slots=True, eq=False)
class _Profile:
    """Profile likelihood: the maximum over the scale for a given flip rate, and the scale that attains it."""

    margins: Tensor
    scale: float | None

    def __call__(self, flip_rate: float) -> tuple[float, float]:
        if self.scale is not None:
            return self._log_likelihood(flip_rate, self.scale), self.scale
        size = self.margins.abs()
        typical = math.log(size[size > 0].median().item())
        low, high = (math.log(end) - typical for end in _SCALES)
        scale = math.exp(_best(lambda log_scale: self._log_likelihood(flip_rate, math.exp(log_scale)), low, high))
        return self._log_likelihood(flip_rate, scale), scale

    def _log_likelihood(self, flip_rate: float, scale: float) -> float:
        log_odds = scale * self.margins
        kept = math.log1p(-flip_rate) + torch.nn.functional.logsigmoid(log_odds)
        if flip_rate <= 0:
            return kept.sum().item()
        flipped = math.log(flip_rate) + torch.nn.functional.logsigmoid(-log_odds)
        return torch.logaddexp(kept, flipped).sum().item()


def _best(value: Callable[[float], float], low: float, high: float) -> float:
    """Argmax of a unimodal function on [low, high], ends included."""
    inside = minimize_scalar(lambda x: -value(x), bounds=(low, high), method="bounded", options={"xatol": _PRECISION})
    return max((low, float(inside.x), high), key=value)


def _interval(excess: Callable[[float], float], flip_rate: float) -> tuple[float, float]:
    """Both points at which the likelihood has fallen too far; 0 or 0.5 if it never does."""
    low, high = 0.0, 0.5
    if flip_rate > low and excess(low) > 0:
        low = float(brentq(excess, low, flip_rate, xtol=_PRECISION))
    if flip_rate < high and excess(high) > 0:
        high = float(brentq(excess, flip_rate, high, xtol=_PRECISION))
    return low, high


def _point(margins: Tensor, threshold: float) -> WrongSigns:
    sure = margins[margins.abs() >= threshold]
    return WrongSigns(threshold, len(sure), _wrong(sure))


def _wrong(margins: Tensor) -> float:
    return ((margins < 0).double() + (margins == 0).double() / 2).mean().item()


def _check(margins: Tensor, scale: float | None) -> None:
    if not margins.numel():
        raise ValueError("margins: are empty, so labels cannot be checked. Give preference pairs.")
    if not margins.isfinite().all():
        raise ValueError("margins: one is NaN or infinite, so the model is broken; choose an earlier checkpoint.")
    if not margins.any():
        raise ValueError("margins: are all 0: the model is equal to its reference. Give a model that has been tuned.")
    if scale is not None and not (math.isfinite(scale) and scale > 0):
        raise ValueError(f"scale = {scale}: must be finite and above 0.")
