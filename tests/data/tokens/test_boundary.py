"""Where completions begin and end."""

import numpy as np
import pytest

from preftune.data.tokens.boundary import common_prefix_length, end_once
from preftune.data.tokens.token_group import TokenIds

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
