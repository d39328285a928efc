from preftune.losses import INPUTS
from preftune.training import step_values

OF_THE_STEP = {"mismatched", "state"}


def test_every_input_of_the_table_is_computed_or_handed_in_with_the_step() -> None:
    assert set(step_values._COMPUTED) | OF_THE_STEP == set(INPUTS)
    assert not set(step_values._COMPUTED) & OF_THE_STEP
