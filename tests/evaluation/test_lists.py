from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau

from preftune.data.tokens.token_group import TokenGroup
from preftune.evaluation.lists import best_of_list, kendall_tau, list_agreement
from preftune.metrics.intervals import Bootstrap
from tests.builders import token_groups

BOOTSTRAP = Bootstrap(num_resamples=100)


def scored(*scores: float, seed: int = 0) -> TokenGroup:
    return replace(token_groups(1, completions=len(scores), seed=seed)[0], scores=scores, pairs=())


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=12))
def test_tau_is_that_of_scipy(rows: list[tuple[int, int]]) -> None:
    scores, rewards = (np.array(column, dtype=np.float64) for column in zip(*rows, strict=True))
    theirs = kendalltau(scores, rewards).statistic
    assert kendall_tau(scores, rewards) == pytest.approx(0.0 if np.isnan(theirs) else theirs)


def test_the_best_is_right_if_nothing_scores_higher() -> None:
    scores = np.array([1.0, 5.0, 5.0])
    assert best_of_list(scores, np.array([0.0, 0.1, 0.9])) == 1.0
    assert best_of_list(scores, np.array([1.0, 0.1, 0.9])) == 0.0
    assert best_of_list(scores, np.zeros(3)) == pytest.approx(2 / 3)


def test_lists_are_counted_by_prompt_and_short_or_tied_ones_left_out() -> None:
    groups = [scored(1, 2, 3), scored(3, 2, 1, seed=1), scored(1, 2, seed=2), scored(1, 1, 1, seed=3)]
    rewards = torch.tensor([0.1, 0.2, 0.3] * 2 + [0.0, 1.0] + [0.1, 0.2, 0.3])
    found = list_agreement(groups, rewards, BOOTSTRAP)
    assert found is not None
    assert found.num_lists == 2
    assert found.kendall_tau.value == 0.0
    assert found.best_of_list.value == 0.5
    assert found.best_by_chance == pytest.approx(1 / 3)


def test_without_scores_there_are_no_lists() -> None:
    groups = token_groups(3, completions=4)
    assert list_agreement(groups, torch.zeros(12), BOOTSTRAP) is None
