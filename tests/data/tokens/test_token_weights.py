"""From weights of characters to weights of tokens."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preftune.data.tokens.token_weights import character_weights, token_weights
from preftune.groups import WeightedSpan


def test_characters_in_no_span_count_1() -> None:
    spans = [WeightedSpan(0, 1, 0.5), WeightedSpan(2, 4, 3.0)]
    assert character_weights(7, 2, spans).tolist() == [1, 1, 0.5, 1, 3, 3, 1]


def test_a_token_counts_the_mean_of_its_characters() -> None:
    offsets = np.array([[0, 4], [4, 5]])
    assert token_weights(offsets, np.array([0.0, 0.0, 1.0, 1.0, 3.0])).tolist() == [0.5, 3.0]


def test_a_token_without_characters_counts_1() -> None:
    assert token_weights(np.array([[0, 0], [2, 2]]), np.array([5.0, 5.0])).tolist() == [1.0, 1.0]


def test_tokens_may_share_a_character() -> None:
    assert token_weights(np.array([[0, 1], [0, 1]]), np.array([0.25])).tolist() == [0.25, 0.25]


def test_no_tokens_have_no_weights() -> None:
    assert token_weights(np.empty((0, 2), dtype=np.int64), np.ones(3)).tolist() == []


weights = st.lists(st.floats(0, 10), min_size=1, max_size=30)


@settings(max_examples=200, deadline=None, database=None)
@given(weights, st.data())
def test_any_cut_into_tokens_counts_as_much_as_the_characters(of_characters: list[float], data: st.DataObject) -> None:
    borders = data.draw(st.sets(st.integers(1, len(of_characters))))
    ends = sorted(borders | {len(of_characters)})
    offsets = np.array(list(zip([0, *ends[:-1]], ends, strict=True)))
    found = token_weights(offsets, np.array(of_characters))
    assert (found * np.diff([0, *ends])).sum() == pytest.approx(sum(of_characters), rel=1e-5, abs=1e-5)
    assert all(min(of_characters) - 1e-6 <= weight <= max(of_characters) + 1e-6 for weight in found)
