"""Weights of tokens, and the auxiliary reward of completions."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preftune.data.tokens.token_group import TokenGroup
from preftune.data.tokens.tokenize import tokenize_groups
from preftune.data.tokens.weights import character_weights, token_weights, weighted_from_first_difference
from preftune.errors import DataError
from preftune.groups import Completion, Origin, Pair, PromptGroup, WeightedSpan
from tests.data.tokenizers_for_tests import make_tokenizer


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


TOKENIZER = make_tokenizer()


def scored_group(*scores: float | None) -> PromptGroup:
    """Completions of one, two, ... digits and the end token."""
    completions = tuple(
        Completion("123456789"[: index + 1], extra_scores={} if score is None else {"safety": score})
        for index, score in enumerate(scores)
    )
    return PromptGroup("What is it?", completions, (Pair(0, 1),), Origin("rows", 7))


def auxiliary(record: PromptGroup, max_length: int | None = None, **weights: float) -> tuple[float, ...]:
    [tokens] = tokenize_groups([record], TOKENIZER, max_length=max_length, auxiliary=weights).groups
    return tokens.auxiliary


def test_the_further_reward_is_the_weighted_sum_of_the_scores() -> None:
    assert auxiliary(scored_group(4.0, 1.0), safety=0.5) == (2.0, 0.5)
    assert auxiliary(scored_group(4.0, 1.0), safety=0.5, length=-0.25) == (2.0 - 0.25 * 2, 0.5 - 0.25 * 3)


def test_the_length_is_that_after_the_cut() -> None:
    assert auxiliary(scored_group(4.0, 1.0), max_length=3, length=1.0) == (2.0, 2.0)


def test_without_weights_there_is_no_further_reward() -> None:
    assert auxiliary(scored_group(4.0, 1.0)) == ()


def test_a_completion_without_the_score_is_an_error_that_names_row_and_score() -> None:
    with pytest.raises(DataError, match=r"^rows:7: a completion has no score 'safety', but --auxiliary asks for it"):
        auxiliary(scored_group(4.0, None), safety=0.5)


def test_groups_that_were_dropped_shift_no_scores() -> None:
    long = PromptGroup("What is it? " * 9, (Completion("1"), Completion("2")), (), Origin("rows", 1))
    tokenized = tokenize_groups(
        [long, scored_group(4.0, 1.0)], TOKENIZER, max_length=15, too_long="drop", auxiliary={"safety": 1.0}
    )
    assert [tokens.auxiliary for tokens in tokenized.groups] == [(4.0, 1.0)]


def group(*completions: list[int], pairs: tuple[tuple[int, int], ...] = ((0, 1),)) -> TokenGroup:
    ids = tuple(np.array(completion, dtype=np.int32) for completion in completions)
    return TokenGroup(np.array([9], dtype=np.int32), ids, tuple(Pair(*pair) for pair in pairs), Origin("rows", 3))


def weights_from_difference(record: TokenGroup) -> list[list[float]]:
    return [own.tolist() for own in weighted_from_first_difference(record).weights]


def test_shared_tokens_count_nothing_and_all_from_the_first_difference_on_count() -> None:
    assert weights_from_difference(group([1, 2, 3, 4], [1, 2, 5])) == [[0, 0, 1, 1], [0, 0, 1]]


def test_a_completion_that_is_a_prefix_of_the_other_counts_nothing() -> None:
    assert weights_from_difference(group([1, 2], [1, 2, 5])) == [[0, 0], [0, 0, 1]]


def test_weights_of_the_data_hold_behind_the_difference() -> None:
    record = replace(group([1, 2], [1, 3]), weights=(np.array([0.5, 0.25]), np.array([2.0, 3.0])))
    assert weights_from_difference(record) == [[0, 0.25], [0, 3.0]]


def test_several_completions_may_part_at_the_same_token() -> None:
    assert weights_from_difference(group([1, 2], [1, 3], [1, 4], pairs=((0, 1), (0, 2)))) == [[0, 1], [0, 1], [0, 1]]


def test_a_completion_that_parts_from_others_at_different_tokens_is_an_error_with_the_ways_out() -> None:
    with pytest.raises(
        DataError, match=r"^rows:3: completion 0 shares 1 tokens with one .* 2 with another.*best_vs_wo"
    ):
        weights_from_difference(group([1, 2, 3], [1, 4], [1, 2, 5], pairs=((0, 1), (0, 2))))


sequences = st.lists(st.integers(0, 2), min_size=1, max_size=8)


@settings(max_examples=200, deadline=None, database=None)
@given(sequences, sequences)
def test_what_counts_nothing_is_the_longest_shared_start(chosen: list[int], rejected: list[int]) -> None:
    first, second = weights_from_difference(group(chosen, rejected))
    shared = first.count(0.0)
    assert second.count(0.0) == shared
    assert chosen[:shared] == rejected[:shared]
    assert chosen[shared : shared + 1] != rejected[shared : shared + 1] or chosen == rejected
    assert first == sorted(first)
