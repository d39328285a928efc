"""Means and intervals: bootstrap over prompts, and standard errors of independent values."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import stats
from torch import Tensor

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

Statistic = Callable[[FloatArray], FloatArray]
"""Weights of prompts to values. Shape: (resample, prompt) -> (resample,) or (resample, value)."""

_NUMBERS_AT_ONCE = 4_000_000


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its confidence interval over prompts.

    Args:
        value: The estimate, from all prompts.
        low, high: Ends of the interval; NaN for a single prompt.
        standard_error: Standard deviation of the estimate over the resamples; NaN for a single prompt.
        num_prompts: Number of prompts.
    """

    value: float
    low: float
    high: float
    standard_error: float
    num_prompts: int

    def __contains__(self, value: float) -> bool:
        """
        >>> 0.6 in Interval(0.5, 0.4, 0.6, 0.05, 100)
        True
        """
        return self.low <= value <= self.high

    def __str__(self) -> str:
        """
        >>> str(Interval(0.5, 0.4, 0.6, 0.05, 100)), str(Interval(0.5, math.nan, math.nan, math.nan, 1))
        ('0.500 [0.400, 0.600]', '0.500')
        """
        if math.isnan(self.low):
            return f"{self.value:z.3f}"
        return f"{self.value:z.3f} [{self.low:z.3f}, {self.high:z.3f}]"


@dataclass(frozen=True, kw_only=True, slots=True)
class Bootstrap:
    """Percentile bootstrap over prompts: each resample draws as many prompts as there are, with replacement.

    The percentiles are expanded, so that intervals of few prompts are as wide as those by Student's t.

    The same seed and number of prompts give the same draws, so that two estimates can be compared draw by draw.

    Args:
        num_resamples: Number of resamples, >= 1.
        confidence: Probability that an interval holds the true value, in (0, 1).
        seed: Seed of the draws.
    Raises:
        ValueError: a value out of its range.
    Source: Efron 1979, The Annals of Statistics 7(1); clusters: Field and Welsh 2007, JRSS B 69(3); expanded
        percentiles: Hesterberg 2015, The American Statistician 69(4).

    >>> bootstrap = Bootstrap(num_resamples=2000)
    >>> interval = bootstrap.interval(ratio_of(np.arange(100.0), np.ones(100)), 100)
    >>> interval.value, round(interval.standard_error, 1)  # standard deviation 28.9 / sqrt(100)
    (49.5, 2.9)
    """

    num_resamples: int = 1000
    confidence: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        if self.num_resamples < 1:
            raise ValueError(f"num_resamples = {self.num_resamples}: must be at least 1.")
        if not 0 < self.confidence < 1:
            raise ValueError(f"confidence = {self.confidence}: must be between 0 and 1, such as 0.95.")

    def interval(self, statistic: Statistic, num_prompts: int) -> Interval:
        """The estimate with the interval of its resamples.

        Args:
            statistic: One that gives a value per resample.
            num_prompts: Number of weights that it takes, >= 1.
        """
        value = float(self.estimate(statistic, num_prompts))
        if num_prompts == 1:
            return Interval(value, math.nan, math.nan, math.nan, 1)
        draws = self.draws(statistic, num_prompts)
        tail = self._expanded_tail(num_prompts)
        low, high = np.quantile(draws, [tail, 1 - tail])
        spread = draws.std(ddof=1) if len(draws) > 1 else math.nan
        return Interval(value, float(low), float(high), float(spread), num_prompts)

    def share(self, statistic: Statistic, num_prompts: int) -> Interval:
        """The interval of a share. If it is 0 or 1, all resamples are equal, and an exact binomial bound is used.

        For a share of 1, the lower end is the share that gives only hits with probability (1 - confidence) / 2; for a
        share of 0, the upper end likewise.

        Source: Clopper and Pearson 1934, Biometrika 26(4).

        >>> str(Bootstrap().share(ratio_of(np.ones(10), np.ones(10)), 10))  # 0.692 ** 10 = 0.025
        '1.000 [0.692, 1.000]'
        """
        found = self.interval(statistic, num_prompts)
        if num_prompts > 1 and found.value in (0.0, 1.0):
            reach = ((1 - self.confidence) / 2) ** (1 / num_prompts)
            return replace(found, low=reach) if found.value else replace(found, high=1 - reach)
        return found

    def _expanded_tail(self, num_prompts: int) -> float:
        """Share of resamples on either side of the interval; smaller for few prompts, whose resamples vary too little.

        >>> round(Bootstrap()._expanded_tail(1000), 4), round(Bootstrap()._expanded_tail(20), 4)
        (0.0248, 0.0159)
        """
        degrees = num_prompts - 1
        quantile = stats.t.ppf((1 - self.confidence) / 2, degrees) * math.sqrt(num_prompts / degrees)
        return float(stats.norm.cdf(quantile))

    def estimate(self, statistic: Statistic, num_prompts: int) -> FloatArray:
        """The values from all prompts, each counted once. Shape: (value,), or () for a single one."""
        return statistic(np.ones((1, num_prompts)))[0]  # type: ignore[no-any-return]

    def draws(self, statistic: Statistic, num_prompts: int) -> FloatArray:
        """The values of every resample. Shape: (resample,) or (resample, value)."""
        return np.concatenate([statistic(weights) for weights in self._weights(num_prompts)])

    def _weights(self, num_prompts: int) -> Iterator[FloatArray]:
        """Counts of each prompt, in batches of resamples. Shape of each: (resample, prompt)."""
        if num_prompts < 1:
            raise ValueError("there are no prompts, so there is nothing to resample. Give at least one.")
        rng = np.random.default_rng(self.seed)
        at_once = max(1, _NUMBERS_AT_ONCE // num_prompts)
        for start in range(0, self.num_resamples, at_once):
            count = min(at_once, self.num_resamples - start)
            drawn = rng.integers(num_prompts, size=(count, num_prompts))
            drawn += num_prompts * np.arange(count)[:, None]
            counts = np.bincount(drawn.ravel(), minlength=count * num_prompts)
            yield counts.reshape(count, num_prompts).astype(np.float64)


def share_interval(
    share: float, standard_error: float, *, num_prompts: int, num_rows: int, confidence: float = 0.95
) -> Interval:
    """The interval of a share by its standard error over prompts, for shares near 0 and 1 and few prompts too.

    Wilson's interval for n trials, with the quantile t of Student's distribution in place of the normal one's:

    (share + t^2 / 2n +- t * sqrt(share (1 - share) / n + t^2 / 4n^2)) / (1 + t^2 / n)

    n = share (1 - share) / standard_error^2, at most the number of rows; the number of prompts if all rows are equal.

    Args:
        share: In [0, 1].
        num_prompts: Independent prompts, >= 1; the interval of one is [0, 1].
        num_rows: Rows of these prompts, such as pairs.
    Source: Wilson 1927, Journal of the American Statistical Association 22(158).

    >>> str(share_interval(0.65, 0.03, num_prompts=254, num_rows=254))
    '0.650 [0.589, 0.706]'
    >>> [str(share_interval(0.0, 0.0, num_prompts=number, num_rows=number)) for number in (11, 1)]
    ['0.000 [0.000, 0.311]', '0.000 [0.000, 1.000]']
    """
    if num_prompts < 2:
        return Interval(share, 0.0, 1.0, math.nan, num_prompts)
    spread = share * (1 - share)
    number = num_prompts if spread == 0 else num_rows if standard_error == 0 else spread / standard_error**2
    number = max(1.0, min(float(number), num_rows))
    quantile = student_quantile(num_prompts, confidence)
    middle = (share + quantile**2 / (2 * number)) / (1 + quantile**2 / number)
    reach = quantile * math.sqrt(spread / number + quantile**2 / (4 * number**2)) / (1 + quantile**2 / number)
    low, high = max(0.0, min(middle - reach, share)), min(1.0, max(middle + reach, share))
    return Interval(share, low, high, standard_error, num_prompts)


def mean_interval(mean: float, standard_error: float, *, num_prompts: int, confidence: float = 0.95) -> Interval:
    """The interval of a mean over prompts: mean +- t * standard error, by Student's distribution.

    >>> str(mean_interval(0.5, 0.1, num_prompts=11))  # t = 2.228
    '0.500 [0.277, 0.723]'
    """
    reach = student_quantile(num_prompts, confidence) * standard_error if num_prompts > 1 else math.nan
    return Interval(mean, mean - reach, mean + reach, standard_error, num_prompts)


def student_quantile(number: int, confidence: float) -> float:
    """The quantile of Student's distribution for a two-sided interval of the mean of `number` values, at least 2."""
    return float(stats.t.ppf((1 + confidence) / 2, number - 1))


def ratio_of(numerators: FloatArray, denominators: FloatArray) -> Statistic:
    """A ratio of sums, such as a mean over pairs whose number differs between prompts.

    Args:
        numerators, denominators: Sums of each prompt. Shape: (prompt,) or (prompt, value).
    Returns:
        A statistic; NaN where the denominator is 0.

    >>> ratio_of(np.array([3.0, 1.0]), np.array([4.0, 1.0]))(np.array([[1.0, 1.0], [2.0, 0.0]]))
    array([0.8 , 0.75])
    """

    def statistic(weights: FloatArray) -> FloatArray:
        below = weights @ denominators
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(below == 0, np.nan, weights @ numerators / below)

    return statistic


def sums_by_prompt(values: FloatArray, prompts: IntArray, num_prompts: int) -> FloatArray:
    """Sum of values per prompt. Shape: (row,), (row,) -> (prompt,).

    >>> sums_by_prompt(np.array([1.0, 2.0, 4.0]), np.array([0, 1, 0]), 2)
    array([5., 2.])
    """
    return np.bincount(prompts, weights=values, minlength=num_prompts).astype(np.float64)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean of independent values with its standard error.

    Args:
        standard_error: Standard deviation of the mean; NaN for a single value.
        num_samples: Number of values.
    """

    mean: float
    standard_error: float
    num_samples: int

    @staticmethod
    def of(values: Tensor) -> "Estimate":
        """The mean of `values`, shape (sample,), which must not be empty.

        >>> import torch
        >>> Estimate.of(torch.tensor([1.0, 3.0]))
        Estimate(mean=2.0, standard_error=1.0, num_samples=2)
        """
        count = values.numel()
        if count == 0:
            raise ValueError("there are no values, so they have no mean. Give at least one.")
        wide = values.detach().double()
        error = wide.std().item() / math.sqrt(count) if count > 1 else math.nan
        return Estimate(wide.mean().item(), error, count)

    @staticmethod
    def of_share(share: float, count: int) -> "Estimate":
        """The estimate of a probability from its share in `count` trials.

        >>> Estimate.of_share(0.75, 300)
        Estimate(mean=0.75, standard_error=0.025, num_samples=300)
        """
        return Estimate(share, math.sqrt(share * (1 - share) / count), count)

    def __str__(self) -> str:
        """
        >>> str(Estimate(12.345, 0.0567, 200))
        '12.345 ± 0.057'
        """
        return f"{self.mean:.3f} ± {self.standard_error:.3f}"
