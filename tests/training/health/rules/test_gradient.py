from typing import Any

from preftune.training.health.rules.gradient import gradient
from tests.training.conftest import Start
from tests.training.health.histories import facts, found, history_of
from tests.training.health.world import friendly_pairs


def norms(*values: float) -> list[dict[str, float]]:
    return [{"grad_norm": value} for value in values]


def test_it_fires_on_a_row_whose_tokens_weigh_a_hundred_times_as_much_and_names_it(start: Start) -> None:
    rows: list[dict[str, Any]] = list(friendly_pairs(160, 1))
    heavy = rows[77]
    heavy["rejected_weights"] = [[0, len(heavy["rejected"]), 100.0]]
    result = start(rows, batch_size=4, epochs=1, learning_rate=1e-4)
    finding = found(result, "gradient")
    assert finding is not None
    assert len(finding.rows) == 4
    assert any(row.endswith("rows.jsonl:78") for row in finding.rows)
    assert "rows.jsonl:78" in str(finding)


def test_a_norm_must_stand_out_from_those_before() -> None:
    usual = [1.0, 2.0] * 10
    assert gradient(history_of(norms(*usual, 5.0)), facts()) is None
    assert gradient(history_of(norms(*usual, 9.0)), facts()) is not None


def test_norms_that_never_vary_may_still_grow_a_few_times() -> None:
    assert gradient(history_of(norms(*[1.0] * 20, 4.9)), facts()) is None
    assert gradient(history_of(norms(*[1.0] * 20, 5.1)), facts()) is not None


def test_what_is_no_more_than_at_the_start_is_no_spike() -> None:
    assert gradient(history_of(norms(*[9.0] * 8, *[1.0] * 60, 8.0)), facts()) is None


def test_the_first_steps_have_nothing_to_stand_out_from() -> None:
    assert gradient(history_of(norms(*[1.0] * 15, 99.0)), facts()) is None
