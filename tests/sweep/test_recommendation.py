from typing import Any

from preftune.sweep.pooled import Pooled
from preftune.sweep.recommendation import Candidate, Recommendation, recommend
from tests.sweep.made_up import evaluated, pooled


def taken(found: dict[str, Pooled], *, sick: str = "", edges: str = "", **settings: Any) -> Recommendation:
    candidates = [
        Candidate(name, item, name == sick, (f"{name} is at the edge",) if name == edges else ())
        for name, item in found.items()
    ]
    return recommend(candidates, value="reward", confidence=0.95, **settings)


FALLING = pooled(low=evaluated(3.0, 9.0, spread=0.1), middle=evaluated(2.0, 4.0, spread=0.1), high=evaluated(1.0, 1.0))


def test_a_higher_value_that_is_credible_is_worth_its_distance() -> None:
    found = taken(FALLING)
    assert (found.name, found.best, found.equals, found.is_undecided) == ("low", "low", ("low",), False)
    assert "has the highest reward, 3.000" in found.reasons[0]
    assert "no other is credibly as good" in found.reasons[0]
    assert found.warnings == ()


def test_of_points_as_good_as_the_best_the_nearest_is_taken() -> None:
    found = taken(
        pooled(
            far=evaluated(3.0, 9.0, spread=1.0),
            near=evaluated(2.9, 4.0, spread=1.0, prefix="q"),
            bad=evaluated(0.0, 1.0),
        )
    )
    assert (found.name, found.best, found.equals) == ("near", "far", ("near", "far"))
    assert not found.is_undecided
    assert "not credibly less" in found.reasons[1]
    assert "KL 4.00 against 9.00 nats" in found.reasons[1]
    assert any("not evaluated on the same prompts" in warning for warning in found.warnings)


def test_points_that_the_data_cannot_tell_apart_are_said_to_be_so() -> None:
    found = taken(pooled(a=evaluated(1.0, 9.0), b=evaluated(1.0, 4.0)), edges="b")
    assert found.is_undecided
    assert found.name == "b"
    assert "cannot tell the points apart" in found.warnings[0]
    assert not any("edge" in warning for warning in found.warnings)  # nothing is known of a direction


def test_an_edge_of_what_was_tried_is_told() -> None:
    assert taken(FALLING, edges="low").warnings == ("low is at the edge",)
    assert taken(FALLING, edges="high").warnings == ()


def test_a_budget_leaves_out_what_is_too_far() -> None:
    found = taken(FALLING, kl_budget=5.0)
    assert found.name == "middle"
    assert "of those within 5 nats" in found.reasons[0]


def test_a_budget_that_none_keeps_names_the_nearest() -> None:
    found = taken(FALLING, kl_budget=0.5)
    assert (found.name, found.best) == (None, None)
    assert "the nearest, high, is at 1.00" in found.reasons[0]


def test_a_budget_that_may_be_passed_is_told() -> None:
    found = taken(pooled(a=evaluated(1.0, 4.95, spread=1.0)), kl_budget=5.0)
    assert any("may lie beyond the budget" in warning for warning in found.warnings)


def test_a_sick_point_is_left_out_and_named() -> None:
    found = taken(FALLING, sick="low")
    assert found.name == "middle"
    assert found.warnings == ("low is sick by a rule of docs/health.md and is left out.",)


def test_nothing_is_recommended_where_all_are_sick() -> None:
    found = taken(pooled(a=evaluated(1.0, 1.0)), sick="a")
    assert found.name is None
    assert "good health" in found.reasons[0]


def test_a_value_that_is_not_above_the_references_is_told() -> None:
    found = taken(pooled(a=evaluated(1.0, 1.0, spread=1.0), b=evaluated(-9.0, 1.0)), reference_value=0.95)
    assert any("not credibly above that of the reference, 0.950" in warning for warning in found.warnings)
    assert taken(FALLING, reference_value=0.0).warnings == ()
