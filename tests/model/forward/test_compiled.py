"""Packed rows through a model that the user compiled. See docs/decisions/0006-torch-compile.md."""

import pytest
import torch
from torch import Tensor, nn

from preftune.model.forward.packed import PackedForward
from preftune.model.forward.packed_batch import PackedBatch, pack
from preftune.model.forward.self_check import choose_forward
from tests.model.forward.tiny_models import gradients, largest_gradient_error, relative_error, tiny_model, token_groups

pytestmark = [
    pytest.mark.slow,  # The compiler traces attention block by block, for half a minute at least.
    pytest.mark.filterwarnings("ignore"),  # The compiler warns of itself.
]

ROUNDING = 1e-5
"""Of float32: a compiled model may round in another order."""
ROWS = [pack(token_groups([(5 + row, (4, 6)), (3, (2, 3 + row, 4))], seed=row)) for row in range(3)]


def packed_run(model: nn.Module, batch: PackedBatch) -> tuple[Tensor, dict[str, Tensor]]:
    logps = PackedForward().token_logps(model, batch)
    found = gradients(model, logps)
    return logps.detach(), {name.removeprefix("_orig_mod."): gradient for name, gradient in found.items()}


def test_a_compiled_model_is_right_on_rows_of_any_length_and_is_given_packed_rows() -> None:
    model, same = (tiny_model("llama", torch.float32, num_hidden_layers=1) for _ in range(2))
    compiled = torch.compile(same, backend="aot_eager", dynamic=True)
    assert isinstance(compiled, nn.Module)
    for row in ROWS:
        expected, expected_gradients = packed_run(model, row)
        found, found_gradients = packed_run(compiled, row)
        assert relative_error(found, expected) < ROUNDING
        assert largest_gradient_error(found_gradients, expected_gradients) < ROUNDING
    choice = choose_forward(compiled)
    assert isinstance(choice.forward, PackedForward), choice.reason
