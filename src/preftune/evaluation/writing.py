"""How a model writes: how long, whether it comes to an end, and in how many different words."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from preftune.metrics.intervals import Bootstrap, FloatArray, Interval, ratio_of
from preftune.model.generation.completions import Generation

__all__ = ["Writing", "distinct_ngrams", "length_drift"]

_LONGEST_NGRAM = 3


@dataclass(frozen=True, slots=True)
class Writing:
    """What samples of a model look like.

    Args:
        length: Mean length. Unit: tokens, the end-of-sequence token included.
        finished: Share of samples that came to their end by themselves.
        distinct: Different n-grams over all n-grams of all samples, for n = 1, 2, 3. It falls with the number of
            samples, so compare it only with that of as many. Without an interval: drawing a prompt twice doubles its
            n-grams, which no new samples would do.
    """

    length: Interval
    finished: Interval
    distinct: tuple[float, ...]

    @staticmethod
    def of(generations: Sequence[Sequence[Generation]], bootstrap: Bootstrap) -> "Writing":
        """The writing in samples, by prompt; the same number for each."""
        prompts = len(generations)
        counts = np.array([float(len(samples)) for samples in generations])
        finished = np.array([float(sum(sample.finished for sample in samples)) for samples in generations])
        completions = [sample.completion_ids.tolist() for samples in generations for sample in samples]
        return Writing(
            length=bootstrap.interval(ratio_of(_num_tokens(generations), counts), prompts),
            finished=bootstrap.share(ratio_of(finished, counts), prompts),
            distinct=tuple(distinct_ngrams(completions, size) for size in range(1, _LONGEST_NGRAM + 1)),
        )


def distinct_ngrams(completions: Sequence[Sequence[int]], size: int) -> float:
    """Different n-grams of tokens over all n-grams, in [0, 1]; 0 where there is none.

    Source: Li et al. 2016, arXiv:1510.03055, Section 5.

    >>> distinct_ngrams([[1, 2, 1, 2], [1, 2]], 2)  # (1, 2) three times and (2, 1) once
    0.5
    """
    ngrams = [tuple(ids[start : start + size]) for ids in completions for start in range(len(ids) - size + 1)]
    return len(set(ngrams)) / len(ngrams) if ngrams else 0.0


def length_drift(
    policy: Sequence[Sequence[Generation]], reference: Sequence[Sequence[Generation]], bootstrap: Bootstrap
) -> Interval:
    """Mean length of the policy's samples minus that of the reference's, prompt by prompt. Unit: tokens."""
    means = [_num_tokens(samples) / np.array([len(own) for own in samples]) for samples in (policy, reference)]
    return bootstrap.interval(ratio_of(means[0] - means[1], np.ones(len(policy))), len(policy))


def _num_tokens(generations: Sequence[Sequence[Generation]]) -> FloatArray:
    """Tokens of all samples of a prompt. Shape: (prompt,)."""
    return np.array([float(sum(len(sample.completion_ids) for sample in samples)) for samples in generations])
