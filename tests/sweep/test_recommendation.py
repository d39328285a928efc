from typing import Any

import numpy as np
import pytest

from preftune.sweep.recommendation import Candidate, SeedMean, difference, recommend, seed_means
from preftune.sweep.result import Recommendation
from tests.sweep.made_up import BOOTSTRAP, evaluated, means_of


def taken(found: dict[str, SeedMean], *, sick: str = "", edges: str = "", **settings: Any) -> Recommendation:
    candidates = [
        Candidate(name, item, name == sick, (f"{name} is at the edge",) if name == edges else ())
        for name, item in found.items()
    ]
    return recommend(candidates, value="reward", confidence=0.95, **settings)


FALLING = means_of(
    low=evaluated(3.0, 9.0, spread=0.1), middle=evaluated(2.0, 4.0, spread=0.1), high=evaluated(1.0, 1.0)
)


def test_a_higher_value_that_is_credible_is_worth_its_distance() -> None:
    found = taken(FALLING)
    assert (found.name, found.best, found.equals, found.is_undecided) == ("low", "low", ("low",), False)
    assert "has the highest reward, 3.000" in found.reasons[0]
    assert "all others are credibly lower" in found.reasons[0]
    assert found.warnings == ()


def test_of_points_as_good_as_the_best_the_nearest_is_taken() -> None:
    found = taken(
        means_of(
            far=evaluated(3.0, 9.0, spread=1.0),
            near=evaluated(2.9, 4.0, spread=1.0, prefix="q"),
            bad=evaluated(0.0, 1.0),
        )
    )
    assert (found.name, found.best, found.equals) == ("near", "far", ("near", "far"))
    assert not found.is_undecided
    assert "not credibly less" in found.reasons[1]
    assert "least KL: 4.00 against 9.00 nats" in found.reasons[1]
    assert any("evaluated on different prompts" in warning for warning in found.warnings)


def test_points_that_the_data_do_not_separate_are_named() -> None:
    found = taken(means_of(a=evaluated(1.0, 9.0), b=evaluated(1.0, 4.0)), edges="b")
    assert found.is_undecided
    assert found.name == "b"
    assert "do not separate the points" in found.warnings[0]
    assert not any("edge" in warning for warning in found.warnings)  # nothing is known of a direction


def test_a_value_at_the_edge_of_the_grid_is_reported() -> None:
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


def test_a_budget_that_may_be_exceeded_is_a_warning() -> None:
    found = taken(means_of(a=evaluated(1.0, 4.95, spread=1.0)), kl_budget=5.0)
    assert any("may exceed the budget" in warning for warning in found.warnings)


def test_a_sick_point_is_excluded_and_named() -> None:
    found = taken(FALLING, sick="low")
    assert found.name == "middle"
    assert found.warnings == ("low is sick by a rule of docs/health.md and is excluded.",)


def test_nothing_is_recommended_where_all_are_sick() -> None:
    found = taken(means_of(a=evaluated(1.0, 1.0)), sick="a")
    assert found.name is None
    assert "good health" in found.reasons[0]


def test_nothing_is_recommended_where_every_point_is_worse_than_the_reference() -> None:
    found = taken(means_of(a=evaluated(1.0, 1.0, spread=0.1), b=evaluated(-9.0, 1.0)), reference_value=2.0)
    assert (found.name, found.best, found.equals) == (None, None, ())
    assert found.against_reference == {"a": "worse", "b": "worse"}
    assert found.headline == "Recommended: nothing. Every point is worse than the model you began with."
    assert found.reasons[0] == "The model you began with has the reward 2.000."
    assert found.reasons[1].startswith("Worse than it: a (1.000 [")
    assert found.ties == ()


def test_points_indistinguishable_from_the_reference_are_not_recommended() -> None:
    found = taken(means_of(a=evaluated(1.0, 1.0, spread=1.0), b=evaluated(-9.0, 1.0)), reference_value=0.95)
    assert found.name is None
    assert found.against_reference == {"a": "unclear", "b": "worse"}
    assert "No point is credibly better" in found.headline
    assert "Not distinguishable from it: a (1.000 [" in found.reasons[2]


def test_only_points_above_the_reference_are_chosen_from() -> None:
    runs = means_of(
        far=evaluated(3.0, 9.0, spread=1.0), near=evaluated(2.8, 4.0, spread=3.0, prefix="q"), bad=evaluated(0.0, 1.0)
    )
    assert taken(runs).name == "near"
    found = taken(runs, reference_value=2.5)
    assert found.against_reference == {"far": "better", "near": "unclear", "bad": "worse"}
    assert found.name == found.best == "far"
    assert "only point that is credibly better than the model you began with" in found.reasons[0]
    assert "Worse than the model you began with: bad." in found.reasons
    assert taken(FALLING, reference_value=0.0).warnings == ()


@pytest.mark.parametrize("reference_value", [None, 0.0, 5.0])
def test_equal_points_are_named_as_equal(reference_value: float | None) -> None:
    runs = means_of(a=evaluated(1.0, 4.0, spread=0.1), b=evaluated(1.0, 4.0, spread=0.1), c=evaluated(0.5, 9.0))
    found = taken(runs, reference_value=reference_value)
    assert found.ties == (("a", "b"),)
    assert "a and b are equal: the same reward on all prompts." in found.reasons
    if found.name is not None:
        assert found.reasons[0].startswith("a and b have the highest reward, 1.000")


def test_models_on_the_same_prompts_are_compared_prompt_by_prompt() -> None:
    found = means_of(a=evaluated(1.0, 1.0, spread=1.0), b=evaluated(1.1, 1.0, spread=1.0))
    gap = difference(found["b"], found["a"], 0.95)
    assert (gap.value, gap.low, gap.high) == pytest.approx((0.1, 0.1, 0.1))
    assert found["a"].value.high > found["b"].value.low  # their own intervals overlap


def test_models_on_other_prompts_are_not() -> None:
    found = means_of(a=evaluated(1.0, 1.0, spread=1.0), b=evaluated(1.1, 1.0, spread=1.0, prefix="q"))
    gap = difference(found["b"], found["a"], 0.95)
    assert gap.low < 0 < gap.high


def test_the_mean_over_seeds_counts() -> None:
    found = means_of(a=[evaluated(1.0, 2.0), evaluated(3.0, 4.0)], b=[evaluated(1.0, 2.0), evaluated(1.0, 2.0)])
    assert (found["a"].value.value, found["a"].kl.value) == (2.0, 3.0)


def test_intervals_over_seeds_cover_only_prompts() -> None:
    found = means_of(a=[evaluated(1.0, 2.0), evaluated(3.0, 2.0)], b=[evaluated(7.0, 2.0), evaluated(9.0, 2.0)])
    assert (found["a"].value.low, found["a"].value.high) == pytest.approx((2.0, 2.0))
    gap = difference(found["b"], found["a"], 0.95)
    assert (gap.value, gap.low, gap.high) == pytest.approx((6.0, 6.0, 6.0))


def test_one_seed_adds_nothing() -> None:
    one = seed_means({"a": [evaluated(1.0, 2.0)]}, "score", BOOTSTRAP)["a"]
    assert np.ptp(one.value_draws) == 0


def test_shares_of_all_seeds_that_are_one_still_have_a_width() -> None:
    found = seed_means({"a": [evaluated(1.0, 2.0), evaluated(1.0, 2.0)]}, "accuracy", BOOTSTRAP)["a"]
    assert found.value.low < 1.0 == found.value.high
