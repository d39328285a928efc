from collections.abc import Sequence

import numpy as np
import pytest

from preftune.evaluation.writing import Writing, distinct_ngrams, length_drift
from preftune.metrics.intervals import Bootstrap
from preftune.model.generation.completions import Generation

BOOTSTRAP = Bootstrap(num_resamples=50)


def generation(ids: Sequence[int], *, finished: bool = True) -> Generation:
    return Generation(np.array([1], dtype=np.int32), np.array(ids, dtype=np.int32), "", finished)


def test_lengths_ends_and_words_are_counted() -> None:
    drawn = [[generation([5, 6, 5, 6]), generation([5, 6])], [generation([7], finished=False), generation([5])]]
    found = Writing.of(drawn, BOOTSTRAP)
    assert (found.length.value, found.finished.value) == (2.0, 0.75)
    assert found.distinct == (3 / 8, 2 / 4, 2 / 2)


def test_the_same_text_for_every_prompt_is_not_distinct() -> None:
    drawn = [[generation([5, 6, 7])]] * 10
    assert Writing.of(drawn, BOOTSTRAP).distinct == (0.1, 0.1, 0.1)


def test_texts_too_short_for_an_ngram_have_none() -> None:
    assert distinct_ngrams([[1], [2]], 2) == 0.0


def test_the_drift_is_the_mean_difference_prompt_by_prompt() -> None:
    policy = [[generation([1] * 6), generation([1] * 8)], [generation([1] * 20)] * 2]
    reference = [[generation([1] * 5)] * 2, [generation([1] * 18)] * 2]
    found = length_drift(policy, reference, Bootstrap(num_resamples=400))
    assert found.value == 2.0
    assert found.standard_error == pytest.approx(0.0)
