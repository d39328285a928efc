"""Completions behind prompts that they do not answer."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preftune.data.tokens.mismatched import partner_places, with_mismatched
from preftune.data.tokens.token_group import TokenGroup
from preftune.errors import DataError
from preftune.groups import Origin
from tests.builders import token_groups


def group(prompt: int, *completions: int) -> TokenGroup:
    """A prompt of one token, and completions of as many tokens as they are numbered."""
    ids = tuple(np.full(completion, completion, dtype=np.int32) for completion in completions)
    return TokenGroup(np.array([prompt], dtype=np.int32), ids, (), Origin("rows", prompt))


def partners(groups: list[TokenGroup], max_length: int | None = None) -> list[list[int]]:
    found = with_mismatched(groups, max_length=max_length)
    return [[int(ids[0]) for ids in record.mismatched] for record in found]


def test_completions_are_shifted_by_one_prompt_where_each_has_one() -> None:
    assert partners([group(1, 11), group(2, 12), group(3, 13)]) == [[12], [13], [11]]


def test_a_group_gets_as_many_as_it_has() -> None:
    assert partners([group(1, 11, 12), group(2, 13), group(3, 14, 15)]) == [[13, 14], [15], [11, 12]]


def test_rows_with_the_same_prompt_never_meet_wherever_they_stand() -> None:
    assert partners([group(1, 11), group(2, 12), group(1, 13), group(3, 14)]) == [[12], [11], [14], [13]]


def test_completions_of_others_come_several_times_where_one_prompt_has_most() -> None:
    assert partners([group(1, 11, 12, 13), group(2, 14)]) == [[14, 14, 14], [13]]


def test_what_does_not_fit_behind_its_new_prompt_loses_its_end() -> None:
    found = with_mismatched([group(1, 3), group(2, 7)], max_length=5)
    assert [len(record.mismatched[0]) for record in found] == [4, 3]


def test_all_else_of_the_groups_stays() -> None:
    groups = token_groups(5)
    for before, after in zip(groups, with_mismatched(groups, max_length=None), strict=True):
        assert (after.keys, after.pairs, after.origin) == (before.keys, before.pairs, before.origin)


def test_a_single_prompt_is_an_error_with_the_way_out() -> None:
    with pytest.raises(DataError, match=r"^rows:1: all completions answer the same prompt.*Give data with several pro"):
        with_mismatched([group(1, 11), group(1, 12)], max_length=None)


@settings(max_examples=200, deadline=None, database=None)
@given(st.lists(st.integers(1, 6), min_size=2, max_size=8))
def test_no_item_meets_its_own_block_and_all_are_used_once_where_that_is_possible(sizes: list[int]) -> None:
    owners = [block for block, size in enumerate(sizes) for _ in range(size)]
    places = list(partner_places(sizes))
    assert len(places) == len(owners)
    assert all(owners[place] != owner for place, owner in zip(places, owners, strict=True))
    if 2 * max(sizes) <= sum(sizes):
        assert set(Counter(places).values()) == {1}
