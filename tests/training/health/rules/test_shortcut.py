from preftune.runs.result import RunResult
from preftune.training.health.rules.shortcut import shortcut
from preftune.training.health.table import RULES
from tests.training.health.histories import facts, found, history_of

SURE = {"rewards/accuracies": 0.99}


def test_it_fires_where_one_word_tells(hardly_different: RunResult) -> None:
    finding = found(hardly_different, "shortcut")
    assert finding is not None
    assert "100.0% of pairs that were new" in finding.text


def test_it_fires_where_length_tells(length_only: RunResult) -> None:
    assert found(length_only, "shortcut") is not None


def test_pairs_of_a_second_epoch_may_be_known() -> None:
    run = facts(num_train=128, num_held_out=0)  # an epoch of two steps
    assert shortcut(history_of([SURE] * 2), run) is not None
    assert shortcut(history_of([{"rewards/accuracies": 0.9}] * 2 + [SURE] * 2), run) is None


def test_it_takes_a_hundred_pairs() -> None:
    assert shortcut(history_of([SURE]), facts(num_held_out=0)) is None
    assert shortcut(history_of([{}], {1: SURE}), facts(num_held_out=99)) is None
    assert shortcut(history_of([{}], {1: SURE}), facts(num_held_out=100)) is not None


def test_thumbs_and_demonstrations_have_no_pairs() -> None:
    assert RULES["shortcut"].applies(facts("simpo"))
    assert not RULES["shortcut"].applies(facts("kto"))
    assert not RULES["shortcut"].applies(facts("sft"))
