import numpy as np
import pytest
import torch

from preftune.errors import CacheError
from preftune.model.forward.packed_batch import pack
from preftune.model.forward.sequences import SequencesForward
from preftune.model.reference.cached import Cached
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


def test_it_looks_log_probs_per_token_up_in_the_order_of_the_batch() -> None:
    groups = token_groups(3)
    tokens = {
        key: np.full(length, -float(place), dtype=np.float32)
        for place, (key, length) in enumerate(
            (key, length) for group in groups for key, length in zip(group.keys, group.completion_lengths, strict=True)
        )
    }
    batch = pack([groups[2], groups[0]])
    found = Cached({}, tokens).token_logps(SequencesForward(), tiny_llama(), batch)
    assert found.dtype == torch.float32
    assert found.tolist() == torch.tensor([-4.0, -5.0, 0.0, -1.0])[batch.owners].tolist()


def test_log_probs_per_token_that_were_not_computed_are_an_error_that_says_so() -> None:
    (group,) = token_groups(1)
    with pytest.raises(CacheError, match="holds one per completion, but the loss needs one per token"):
        Cached(dict.fromkeys(group.keys, -1.0)).token_logps(SequencesForward(), tiny_llama(), pack([group]))
    with pytest.raises(CacheError, match="2 of the 2 completions of a micro-batch have no reference log-prob"):
        Cached({}, {}).token_logps(SequencesForward(), tiny_llama(), pack([group]))


def test_no_table_gives_distributions() -> None:
    (group,) = token_groups(1)
    with pytest.raises(CacheError, match=r"the reference model must stay in memory.*--no-reference-cache"):
        Cached({}, {}).distributions(SequencesForward(), tiny_llama(), pack([group]))
