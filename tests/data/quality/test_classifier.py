import numpy as np
import pytest
from scipy.stats import binomtest

from preftune.data.quality.classifier import (
    ClassifierData,
    balanced_accuracy,
    clustered_accuracy,
    cross_validated,
    fit_linear,
)


@pytest.mark.parametrize(("num_right", "count"), [(9, 20), (150, 200), (20, 20), (0, 7)])
def test_the_interval_of_independent_answers_is_that_of_wilson(num_right: int, count: int) -> None:
    right = np.array([1.0] * num_right + [0.0] * (count - num_right))
    found = clustered_accuracy(right, np.arange(count, dtype=np.uint64))
    expected = binomtest(num_right, count).proportion_ci(method="wilson")
    assert found.value == num_right / count
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-3)


def test_answers_of_one_prompt_count_as_one() -> None:
    right = np.array([1.0, 0.0, 1.0, 1.0])
    once = clustered_accuracy(right, np.arange(4, dtype=np.uint64))
    ten_times = clustered_accuracy(np.repeat(right, 10), np.repeat(np.arange(4, dtype=np.uint64), 10))
    assert (ten_times.low, ten_times.high) == pytest.approx((once.low, once.high))


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(400):
        clusters = rng.integers(0, 60, 200).astype(np.uint64)
        tendency = rng.beta(6, 4, 60)[clusters.astype(int)]
        found = clustered_accuracy((rng.random(200) < tendency).astype(float), clusters)
        hits += found.low <= 0.6 <= found.high
    assert 0.91 <= hits / 400 <= 0.98


def test_balanced_accuracy_of_a_constant_answer_is_a_half() -> None:
    labels = np.array([True] * 90 + [False] * 10)
    found = balanced_accuracy(labels.astype(float), labels)
    assert found.value == 0.5
    assert not found.is_above_chance


def classifier_data(count: int, *, signal: float, seed: int = 0) -> ClassifierData:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(count, 3)) + np.array([signal, 0, 0])
    return ClassifierData(features, None, np.arange(count, dtype=np.uint64))


def scores_of(part: ClassifierData) -> object:
    return fit_linear(part).scores


def test_a_feature_that_chosen_has_more_of_is_found() -> None:
    found = cross_validated(classifier_data(300, signal=2.0), lambda part: fit_linear(part).scores)
    assert found is not None
    assert found.value > 0.9
    assert fit_linear(classifier_data(300, signal=2.0)).weights.argmax() == 0


def test_noise_is_not() -> None:
    found = cross_validated(classifier_data(300, signal=0.0), lambda part: fit_linear(part).scores)
    assert found is not None
    assert found.low < 0.5 < found.high


def test_pairs_of_a_prompt_are_in_one_fold() -> None:
    seen: list[set[int]] = []

    def fit(part: ClassifierData) -> object:
        seen.append(set(part.prompts.tolist()))
        return lambda features: np.ones(features.shape[0])

    prompts = np.repeat(np.arange(20, dtype=np.uint64), 3)
    cross_validated(ClassifierData(np.ones((60, 1)), None, prompts), fit)  # type: ignore[arg-type]
    assert [len(own) for own in seen] == [16] * 15  # three times five folds


def test_too_few_prompts_for_five_folds_give_nothing() -> None:
    few = ClassifierData(np.ones((60, 1)), None, np.repeat(np.arange(4, dtype=np.uint64), 15))
    assert cross_validated(few, lambda part: fit_linear(part).scores) is None
