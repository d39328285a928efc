import pytest
import torch

from preftune.losses import INPUTS, LOSSES, Loss, PolicyLogps, ReferencedLogps, TokenLogps
from preftune.losses.method import probe_arguments

TWO = torch.zeros(2)


@pytest.mark.parametrize("name", LOSSES)
def test_the_feedback_of_a_loss_follows_from_its_inputs(name: str) -> None:
    kinds = {INPUTS[argument].feedback for argument in LOSSES[name].takes} - {None}
    assert kinds == ({LOSSES[name].feedback} if LOSSES[name].feedback != "demonstrations" else set())


def test_a_loss_of_an_input_that_is_not_in_the_table_cannot_be_made() -> None:
    with pytest.raises(AssertionError, match="entropies: not in the table of inputs"):
        Loss(torch.zeros_like, ("entropies",), "pair", needs_reference=False, source="")


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize(
    "logps", [PolicyLogps(TWO, TWO + 1), ReferencedLogps(TWO, TWO, TWO + 1)], ids=["", "reference"]
)
def test_the_probe_of_an_input_has_two_rows(name: str, logps: PolicyLogps | ReferencedLogps) -> None:
    value = INPUTS[name].probe(logps)
    rows = value.policy if isinstance(value, PolicyLogps | ReferencedLogps | TokenLogps) else value
    assert rows.shape == (2,)


@pytest.mark.parametrize("name", INPUTS)
def test_an_input_with_requirements_says_so_to_users(name: str) -> None:
    assert bool(INPUTS[name].needs) == bool(INPUTS[name].cost)


@pytest.mark.parametrize("name", LOSSES)
def test_probes_cover_each_input_in_order(name: str) -> None:
    assert list(probe_arguments(LOSSES[name])) == list(LOSSES[name].takes)
