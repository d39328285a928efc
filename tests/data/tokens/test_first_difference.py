"""Weights that leave out what chosen and rejected share."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preftune.data.tokens.first_difference import weighted_from_first_difference
from preftune.data.tokens.token_group import TokenGroup
from preftune.errors import DataError
from preftune.groups import Origin, Pair


def group(*completions: list[int], pairs: tuple[tuple[int, int], ...] = ((0, 1),)) -> TokenGroup:
    ids = tuple(np.array(completion, dtype=np.int32) for completion in completions)
    return TokenGroup(np.array([9], dtype=np.int32), ids, tuple(Pair(*pair) for pair in pairs), Origin("rows", 3))


def weights(record: TokenGroup) -> list[list[float]]:
    return [own.tolist() for own in weighted_from_first_difference(record).weights]


def test_shared_tokens_count_nothing_and_all_from_the_first_difference_on_count() -> None:
    assert weights(group([1, 2, 3, 4], [1, 2, 5])) == [[0, 0, 1, 1], [0, 0, 1]]


def test_a_completion_that_the_other_goes_on_from_counts_nothing() -> None:
    assert weights(group([1, 2], [1, 2, 5])) == [[0, 0], [0, 0, 1]]


def test_weights_of_the_data_hold_behind_the_difference() -> None:
    record = replace(group([1, 2], [1, 3]), weights=(np.array([0.5, 0.25]), np.array([2.0, 3.0])))
    assert weights(record) == [[0, 0.25], [0, 3.0]]


def test_several_completions_may_part_at_the_same_token() -> None:
    assert weights(group([1, 2], [1, 3], [1, 4], pairs=((0, 1), (0, 2)))) == [[0, 1], [0, 1], [0, 1]]


def test_a_completion_that_parts_from_others_at_different_tokens_is_an_error_with_the_ways_out() -> None:
    with pytest.raises(
        DataError, match=r"^rows:3: completion 0 shares 1 tokens with one .* 2 with another.*best_vs_wo"
    ):
        weights(group([1, 2, 3], [1, 4], [1, 2, 5], pairs=((0, 1), (0, 2))))


sequences = st.lists(st.integers(0, 2), min_size=1, max_size=8)


@settings(max_examples=200, deadline=None, database=None)
@given(sequences, sequences)
def test_what_counts_nothing_is_the_longest_shared_start(chosen: list[int], rejected: list[int]) -> None:
    first, second = weights(group(chosen, rejected))
    shared = first.count(0.0)
    assert second.count(0.0) == shared
    assert chosen[:shared] == rejected[:shared]
    assert chosen[shared : shared + 1] != rejected[shared : shared + 1] or chosen == rejected
    assert first == sorted(first)
