from preftune.training.health.rules.flat import flat
from preftune.training.health.table import RULES
from tests.training.conftest import Start
from tests.training.health.histories import facts, found, history_of
from tests.training.health.world import friendly_pairs


def test_it_fires_on_a_tiny_learning_rate(start: Start) -> None:
    finding = found(start(friendly_pairs(160, 1), learning_rate=1e-8), "flat")
    assert finding is not None
    assert finding.step == 20
    assert "--learning-rate" in finding.advice


def test_it_fires_on_a_huge_beta(start: Start) -> None:
    assert found(start(friendly_pairs(160, 1), beta=300.0, learning_rate=1e-5), "flat") is not None


def test_it_fires_on_sft_whose_held_out_loss_stays(start: Start) -> None:
    result = start(friendly_pairs(160, 1), friendly_pairs(64, 2), method="sft", learning_rate=1e-8)
    assert found(result, "flat") is not None


def test_a_policy_that_moves_is_learning_whatever_its_loss() -> None:
    steps = [{"loss": 0.69, "logratios/absolute": 0.2}] * 20
    assert flat(history_of(steps), facts()) is None


def test_it_waits_for_half_of_the_run() -> None:
    steps = [{"logratios/absolute": 0.01}] * 30
    assert flat(history_of(steps), facts(max_steps=60)) is not None
    assert flat(history_of(steps), facts(max_steps=61)) is None
    assert flat(history_of(steps[:19]), facts(max_steps=19)) is None


def test_a_training_loss_alone_does_not_tell_without_a_reference() -> None:
    assert not RULES["flat"].applies(facts("sft", num_held_out=0))
    assert RULES["flat"].applies(facts("sft"))
