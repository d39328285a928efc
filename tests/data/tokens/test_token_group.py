import pickle
from dataclasses import replace

import numpy as np
import pytest

from preftune.data.tokens.token_group import TokenGroup, TokenIds, common_prefix_length, end_once
from preftune.groups import Origin


def keys(prompt: list[int], *completions: list[int]) -> tuple[bytes, ...]:
    ids = [np.array(tokens, dtype=np.int32) for tokens in (prompt, *completions)]
    return TokenGroup(ids[0], tuple(ids[1:]), (), Origin("test", 1)).keys


def test_a_key_depends_on_prompt_completion_and_the_place_between_them() -> None:
    different = [keys([1, 2], [3, 4]), keys([1, 2, 3], [4]), keys([1], [2, 3, 4]), keys([1, 2], [4, 3]), keys([2], [3])]
    assert len(set(different)) == len(different)
    assert all(len(key) == 16 for (key,) in different)


def test_a_key_does_not_depend_on_siblings_or_origin() -> None:
    first, second = keys([1, 2], [3], [4, 5])
    assert (second, first) == keys([1, 2], [4, 5], [3])


def test_a_changed_group_gets_new_keys_and_a_sent_one_keeps_them() -> None:
    ids = [np.array(tokens, dtype=np.int32) for tokens in ([1, 2], [3], [4])]
    group = TokenGroup(ids[0], (ids[1],), (), Origin("test", 1))
    assert pickle.loads(pickle.dumps(group)).keys == group.keys
    assert replace(group, completions=(ids[2],)).keys == keys([1, 2], [4])


EOS, BLANK = 0, 9


def ids(*tokens: int) -> TokenIds:
    return np.array(tokens, dtype=np.int32)


@pytest.mark.parametrize(
    ("sequences", "length"),
    [
        ([ids(1, 2)], 2),
        ([ids(1, 2), ids(1, 2, 3)], 2),
        ([ids(1, 2, 3), ids(1, 2)], 2),
        ([ids(1, 2, 3), ids(1, 5, 3), ids(1, 2, 4)], 1),
        ([ids(1), ids(2)], 0),
        ([ids(), ids(2)], 0),
    ],
)
def test_the_common_prefix_is_what_all_sequences_start_with(sequences: list[TokenIds], length: int) -> None:
    assert common_prefix_length(sequences) == length


@pytest.mark.parametrize(
    ("completion", "expected"),
    [
        (ids(5, 6), ids(5, 6, EOS)),
        (ids(5, EOS), ids(5, EOS)),
        (ids(5, EOS, BLANK), ids(5, EOS)),
        (ids(5, EOS, EOS), ids(5, EOS)),
        (ids(5, EOS, BLANK, EOS), ids(5, EOS)),
        (ids(5, BLANK), ids(5, BLANK, EOS)),
        (ids(EOS, 5), ids(EOS, 5, EOS)),
        (ids(BLANK), ids(BLANK, EOS)),
    ],
)
def test_a_completion_ends_with_the_end_token_once(completion: TokenIds, expected: TokenIds) -> None:
    ended = end_once(completion, EOS, lambda token: token == BLANK)
    assert ended.tolist() == expected.tolist()
    assert ended.dtype == np.int32
