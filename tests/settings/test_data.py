"""Settings of the data, and which methods have a use for them."""

from pathlib import Path
from typing import Any

import pytest

from preftune.errors import ConfigError
from preftune.losses import LOSSES, Feedback, Method
from preftune.settings import DataSettings, TrainConfig


def settings(**changes: Any) -> DataSettings:
    return DataSettings(data=["prefs.jsonl"], **changes)


METHODS: dict[Feedback, str] = {"pairs": "dpo", "thumbs": "kto", "lists": "plackett_luce", "demonstrations": "sft"}


def test_a_config_with_scores_and_weights_survives_its_yaml(tmp_path: Path) -> None:
    first = TrainConfig.of(
        model="m",
        data="d",
        output="o",
        pairing="adjacent",
        min_score_gap=0.5,
        auxiliary="safety=0.5,length=-0.01",
        token_weights="from_first_difference",
    )
    (tmp_path / "config.yaml").write_text(first.to_yaml())
    assert TrainConfig.read(tmp_path / "config.yaml") == first
    assert first.data.auxiliary == {"safety": 0.5, "length": -0.01}


def test_all_problems_are_reported_at_once() -> None:
    wrong: dict[str, Any] = {"pairing": "worst", "auxiliary": "safety=0,wit=inf", "token_weights": "all"}
    with pytest.raises(ConfigError) as caught:
        TrainConfig.of(model="m", data="d", output="o", min_score_gap=-1, **wrong)
    for part in (
        "pairing = 'worst': must be one of given, all, best_vs_worst, adjacent",
        "min_score_gap = -1.0: must be at least 0",
        "auxiliary: the weight of safety is 0",
        "auxiliary: the weight of wit is inf",
        "token_weights = 'all': must be one of data, from_first_difference",
    ):
        assert part in str(caught.value), part


def test_a_gap_holds_for_no_pair_that_is_given() -> None:
    [problem] = settings(pairing="given", min_score_gap=0.5).problems()
    assert problem.startswith("min_score_gap = 0.5: given pairs are kept with any scores.")


@pytest.mark.parametrize("feedback", ["pairs", "thumbs", "lists", "demonstrations"])
def test_defaults_are_no_problem_for_any_method(feedback: Feedback) -> None:
    assert list(settings().problems_with(Method.named(METHODS[feedback]))) == []


@pytest.mark.parametrize(
    ("changes", "used_by"),
    [
        ({"pairing": "all"}, {"pairs", "thumbs"}),
        ({"min_score_gap": 0.5}, {"pairs", "thumbs"}),
        ({"auxiliary": {"safety": 0.5}}, {"pairs", "lists"}),
        ({"token_weights": "from_first_difference"}, {"pairs"}),
    ],
)
def test_a_setting_that_a_method_has_no_use_for_is_a_problem(changes: dict[str, Any], used_by: set[str]) -> None:
    kinds: tuple[Feedback, ...] = ("pairs", "thumbs", "lists", "demonstrations")
    for feedback in kinds:
        problems = list(settings(**changes).problems_with(Method.named(METHODS[feedback])))
        assert bool(problems) == (feedback not in used_by), feedback
        assert all(f"method {METHODS[feedback]} " in problem for problem in problems)


@pytest.mark.parametrize("name", ["simpo", "ipo", "ld_dpo", "beta_dpo", "dpo + ipo", "kto"])
def test_a_further_reward_needs_a_method_of_margins_against_a_reference(name: str) -> None:
    [problem] = settings(auxiliary={"safety": 0.5}).problems_with(Method.named(name))
    assert f"method {name} is not a function of these alone. Use one of dpo, robust_dpo" in problem


def test_a_further_reward_tilts_no_other_divergence() -> None:
    forward_kl = Method.named("dpo", {"divergence": "forward_kl"})
    [problem] = settings(auxiliary={"safety": 0.5}).problems_with(forward_kl)
    assert "needs divergence = reverse_kl" in problem


def test_a_further_reward_may_stand_in_a_sum_with_a_term_that_sees_no_reference() -> None:
    assert list(settings(auxiliary={"safety": 0.5}).problems_with(Method.named("dpo + preferred_ft"))) == []


def test_settings_have_no_problem_with_any_method() -> None:
    for name in LOSSES:
        assert list(settings().problems_with(Method.named(name))) == []
