import pytest
import torch

from preftune.errors import CacheError
from preftune.policy.packed_batch import pack
from preftune.policy.sequences import SequencesForward
from preftune.reference import Cached
from tests.builders import tiny_llama, token_groups


def test_it_looks_log_probs_up_in_the_order_of_the_batch() -> None:
    groups = token_groups(3)
    table = {key: -float(place) for place, key in enumerate(key for group in groups for key in group.keys)}
    found = Cached(table).logps(SequencesForward(), tiny_llama(), pack([groups[2], groups[0]]))
    assert found.tolist() == [-4.0, -5.0, 0.0, -1.0]
    assert found.dtype == torch.float64


def test_a_completion_that_is_not_in_the_table_is_an_error_that_counts() -> None:
    groups = token_groups(2)
    table = dict.fromkeys(groups[0].keys, -1.0)
    with pytest.raises(CacheError, match="2 of the 4 completions of a micro-batch have no reference log-prob"):
        Cached(table).logps(SequencesForward(), tiny_llama(), pack(groups))
