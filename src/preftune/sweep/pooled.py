"""Points with the same settings as one, over their seeds, and how sure the differences between them are."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from preftune.evaluation.by_prompt import ByPrompt
from preftune.metrics.intervals import Bootstrap, FloatArray, Interval
from preftune.settings.sweep_sections import ValueKind
from preftune.sweep.evaluated import Evaluated, interval_of

__all__ = ["Draws", "Pooled", "difference", "pool"]


@dataclass(frozen=True, slots=True, eq=False)
class Pooled:
    """A mean over the seeds of a point.

    Args:
        value, kl: With intervals.
        value_draws, kl_draws: The same for every resample of the prompts. Resample i is the same for all points that
            were evaluated on the same prompts, so that differences are paired. Shape: (resample,).
        prompts: Digests of the prompts of each seed's evaluation.
    """

    value: Interval
    kl: Interval
    value_draws: FloatArray
    kl_draws: FloatArray
    prompts: tuple[tuple[str, ...], ...]


class Draws:
    """Means over resampled prompts; the same prompts are resampled alike, other ones by themselves.

    Args:
        bootstrap: How they are resampled.
    """

    def __init__(self, bootstrap: Bootstrap) -> None:
        self._bootstrap = bootstrap
        self._seeds: dict[tuple[str, ...], int] = {}

    def of(self, measured: ByPrompt) -> FloatArray:
        """Shape: (resample,)."""
        number = self._seeds.setdefault(measured.prompts, len(self._seeds))
        own = Bootstrap(
            num_resamples=self._bootstrap.num_resamples,
            confidence=self._bootstrap.confidence,
            seed=self._bootstrap.seed + number,
        )
        return own.draws(measured.statistic, len(measured.prompts))


def pool(
    runs: Mapping[str, Sequence[Evaluated]], kind: ValueKind, bootstrap: Bootstrap, draws: Draws | None = None
) -> dict[str, Pooled]:
    """The mean over the seeds of each point.

    With several seeds the draws also hold what another set of seeds would change: the standard deviation between seeds
    is taken to be the same at all points, so that it is known from all of them, and each draw adds a number by
    Student's t with as many degrees of freedom.

    Args:
        runs: Evaluations by point, one for each seed.
        kind: What the value is.
        bootstrap: How prompts are resampled.
        draws: Where differences to other draws are wanted, theirs.
    Source: the pooled variance of a one-way layout, Fisher 1925, Statistical Methods for Research Workers.
    """
    draws = draws or Draws(bootstrap)
    values = {name: [item.value for item in found] for name, found in runs.items()}
    kls = {name: [item.kl for item in found] for name, found in runs.items()}
    value_draws, kl_draws = _mean_draws(values, draws, bootstrap, seed=1), _mean_draws(kls, draws, bootstrap, seed=2)
    return {
        name: Pooled(
            value=_interval(values[name], kind, value_draws[name], bootstrap),
            kl=_interval(kls[name], None, kl_draws[name], bootstrap),
            value_draws=value_draws[name],
            kl_draws=kl_draws[name],
            prompts=tuple(item.prompts for item in values[name]),
        )
        for name in runs
    }


def difference(better: Pooled, worse: Pooled, confidence: float) -> Interval:
    """Value of one point minus that of another, paired where both have the same prompts."""
    draws = better.value_draws - worse.value_draws
    low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2])
    value = better.value.value - worse.value.value
    return Interval(value, float(low), float(high), float(draws.std()), better.value.num_prompts)


def _mean_draws(
    runs: Mapping[str, Sequence[ByPrompt]], draws: Draws, bootstrap: Bootstrap, *, seed: int
) -> dict[str, FloatArray]:
    spread, degrees = _between_seeds([[item.mean for item in found] for found in runs.values()])
    noise = np.random.default_rng([bootstrap.seed, seed])
    found = {}
    for name, items in runs.items():
        found[name] = np.mean([draws.of(item) for item in items], axis=0)
        if degrees:
            found[name] += spread / math.sqrt(len(items)) * noise.standard_t(degrees, bootstrap.num_resamples)
    return found


def _between_seeds(means: Sequence[Sequence[float]]) -> tuple[float, int]:
    """Standard deviation between seeds of the same point, and its degrees of freedom; 0 where there is one seed.

    >>> _between_seeds([[1.0, 3.0], [5.0, 5.0]])  # (1 + 1 + 0 + 0) / 2
    (1.0, 2)
    """
    degrees = sum(len(values) - 1 for values in means)
    squares = sum(_squares(means))
    return (math.sqrt(squares / degrees), degrees) if degrees else (0.0, 0)


def _squares(means: Sequence[Sequence[float]]) -> Iterator[float]:
    for values in means:
        middle = sum(values) / len(values)
        yield from ((value - middle) ** 2 for value in values)


def _interval(
    measured: Sequence[ByPrompt], kind: ValueKind | None, draws: FloatArray, bootstrap: Bootstrap
) -> Interval:
    mean = sum(item.mean for item in measured) / len(measured)
    if len(measured) == 1 or (kind in ("win_rate", "accuracy") and mean in (0, 1)):  # resamples would all be alike
        return interval_of(measured[0], kind, bootstrap)
    tail = (1 - bootstrap.confidence) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    if kind in ("win_rate", "accuracy"):
        low, high = np.clip([low, high], 0, 1)
    return Interval(mean, float(low), float(high), float(draws.std()), min(len(item.prompts) for item in measured))
