"""Padded rows against one sequence at a time."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import MambaConfig

from preftune.model.forward.forward import completion_logps
from preftune.model.forward.packed_batch import pack
from preftune.model.forward.sequences import SequencesForward
from tests.model.forward.tiny_models import (
    ARCHITECTURES,
    GROUPS,
    VOCABULARY_SIZE,
    HonestFloat64,
    build,
    gradients,
    largest_gradient_error,
    one_by_one_logps,
    relative_error,
    tiny_model,
    token_groups,
)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_padded_rows_are_exact_in_log_probs_and_all_gradients(name: str) -> None:
    with HonestFloat64():
        model = tiny_model(name)
        expected = one_by_one_logps(model, GROUPS)
        expected_gradients = gradients(model, expected)
        found = SequencesForward().token_logps(model, pack(GROUPS))
        found_gradients = gradients(model, found)
    assert relative_error(found, expected) < 1e-10
    assert largest_gradient_error(found_gradients, expected_gradients) < 1e-10


lengths = st.tuples(st.integers(1, 20), st.lists(st.integers(1, 20), min_size=1, max_size=4))


@settings(max_examples=15, deadline=None)
@given(groups=st.lists(lengths, min_size=1, max_size=4))
def test_padding_does_not_matter(groups: list[tuple[int, list[int]]]) -> None:
    made = token_groups(groups)
    with HonestFloat64(), torch.no_grad():
        model = tiny_model("gpt2")
        found = SequencesForward().token_logps(model, pack(made))
        assert relative_error(found, one_by_one_logps(model, made)) < 1e-10


def test_a_model_that_carries_state_is_right_in_padded_rows() -> None:
    with HonestFloat64(), torch.no_grad():
        model = build(MambaConfig(vocab_size=VOCABULARY_SIZE, hidden_size=16, num_hidden_layers=2, state_size=4))
        found = SequencesForward().token_logps(model, pack(GROUPS))
        assert relative_error(found, one_by_one_logps(model, GROUPS)) < 1e-10


def test_log_probs_are_summed_by_completion() -> None:
    model = tiny_model("llama")
    batch = pack(token_groups([(3, (2, 1))]))
    with torch.no_grad():
        per_token = SequencesForward().token_logps(model, batch)
        per_completion = completion_logps(SequencesForward(), model, batch)
    assert per_completion.tolist() == pytest.approx([float(per_token[:2].sum()), float(per_token[2])])
