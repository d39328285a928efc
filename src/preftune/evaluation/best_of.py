"""Best-of-N sampling by the implicit reward, beside a plain sample of the policy."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from torch import Tensor

from preftune.evaluation.win_rate import WinRate
from preftune.metrics.intervals import Bootstrap, Interval, ratio_of
from preftune.model.generation.completions import Generation


@dataclass(frozen=True, slots=True)
class BestOf:
    """Result of best-of-N: of N samples per prompt, the one with the highest implicit reward.

    Args:
        num_samples: N.
        reward, plain_reward: Mean implicit reward of the best sample, and of a plain sample of the policy.
        length, plain_length: Their mean lengths. Unit: tokens.
        kl: Upper bound of KL(best of N || source). Unit: nats.
        win_rate: Win rate of the best against the plain sample; None without a judge.
    """

    num_samples: int
    source: Literal["reference", "policy"]
    reward: Interval
    plain_reward: Interval
    length: Interval
    plain_length: Interval
    kl: float
    win_rate: WinRate | None


def best_samples(drawn: Sequence[Sequence[Generation]], rewards: Tensor) -> tuple[list[Generation], list[float]]:
    """The sample with the highest reward of each prompt, and that reward.

    Args:
        rewards: Rewards of all samples, in order. Shape: (completion,).
    """
    by_prompt = rewards.split([len(samples) for samples in drawn])
    places = [int(own.argmax()) for own in by_prompt]
    best = [samples[place] for samples, place in zip(drawn, places, strict=True)]
    return best, [float(own[place]) for own, place in zip(by_prompt, places, strict=True)]


def rate_best(
    best: Sequence[tuple[Generation, float]],
    plain: Sequence[tuple[Generation, float]],
    *,
    num_samples: int,
    source: Literal["reference", "policy"],
    win_rate: WinRate | None,
    bootstrap: Bootstrap,
) -> BestOf:
    """Best-of-N beside the plain policy.

    Args:
        best, plain: A sample with its implicit reward for each prompt.
    """

    def mean(values: Sequence[float]) -> Interval:
        return bootstrap.interval(ratio_of(np.array(values, dtype=np.float64), np.ones(len(values))), len(values))

    return BestOf(
        num_samples=num_samples,
        source=source,
        reward=mean([reward for _, reward in best]),
        plain_reward=mean([reward for _, reward in plain]),
        length=mean([len(sample.completion_ids) for sample, _ in best]),
        plain_length=mean([len(sample.completion_ids) for sample, _ in plain]),
        kl=kl_of_best(num_samples),
        win_rate=win_rate,
    )


def kl_of_best(num_samples: int) -> float:
    """Upper bound of KL(best of N || source): log N - (N - 1) / N. Unit: nats.

    Source: Stiennon et al. 2020, arXiv:2009.01325, Appendix G.3; the bound: Beirami et al. 2024,
        arXiv:2401.01879.

    >>> round(kl_of_best(4), 3)  # 1.386 - 0.75
    0.636
    """
    return math.log(num_samples) - (num_samples - 1) / num_samples
