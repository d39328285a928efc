import math

from preftune.metrics.intervals import Interval
from preftune.sweep.result import ModelRow, PointRecord, PointRow, Realigned, Recommendation, SweepResult
from studies.beta_sweep import BetaSweepSize, page, true_reward


def row(value: float, kl: float, *, strength: float = 1.0) -> ModelRow:
    value_interval, kl_interval = (Interval(number, number - 0.1, number + 0.1, 0.05, 9) for number in (value, kl))
    return ModelRow("run", 76, strength, value_interval, kl_interval, None, on_frontier=True)


def result() -> SweepResult:
    points = tuple(
        PointRow(f"beta={beta},seed=0", f"beta={beta}", 0, PointRecord("trained", num_computed=computed), (model,))
        for beta, computed, model in (("0.1", 508, row(3.7, 6.0)), ("0.3", 0, row(3.5, 3.1)))
    )
    realigned = Realigned("beta=0.1,seed=0", (row(1.2, 0.4, strength=0.333), row(3.7, 6.0)))
    return SweepResult(
        "s", "score", None, 0.95, None, None, points, (),
        Recommendation("beta=0.1", "beta=0.1", ("beta=0.1",), False, ("It is the best.",), ("It is at the edge.",)),
        realigned, (), 508, False,
    )  # fmt: skip


def test_the_page_holds_counts_points_and_recommendation() -> None:
    text = page(result(), BetaSweepSize(), picture="images/x.png")
    assert "beta=0.1 508, beta=0.3 0. The total of 508 covers 2 runs" in text
    assert "| beta=0.1 | 76 | 3.70 [3.60, 3.80] | 6.00 [5.90, 6.10] |  | yes | no finding |" in text
    assert "**Recommended: beta=0.1.** It is the best.\n\n- It is at the edge." in text


def test_a_strength_is_listed_with_the_run_that_it_approximates() -> None:
    text = page(result(), BetaSweepSize(), picture="images/x.png")
    assert "| 0.333 | 1.20 [1.10, 1.30] | 0.40 [0.30, 0.50] | 0.3 | 3.50 [3.40, 3.60] | 3.10 [3.00, 3.20] |" in text


def test_the_value_is_the_reward_of_the_world() -> None:
    assert true_reward("prompt", " plot was brilliant.") == math.log(0.30 / 0.05)
