from typing import Any

from preftune.settings.sweep_config import SweepConfig
from preftune.sweep.sharing import sharing_notes


def notes(over: list[str], **base: Any) -> list[str]:
    settings = {"model": "gpt2", "data": "prefs.jsonl", "eval_fraction": 0.1, **base}
    return list(sharing_notes(SweepConfig.of(settings, {"output": "s", "over": over}).points()))


def test_points_of_one_model_share_the_reference() -> None:
    (note,) = notes(["beta=0.1,0.3"])
    assert "each is computed once" in note


def test_points_of_several_models_share_it_by_model() -> None:
    assert notes(["model=gpt2,distilgpt2", "beta=0.1,0.3"]) == [
        "reference: points have 2 different ones; log-probs are computed once for each"
    ]


def test_why_a_point_shares_none_is_told() -> None:
    assert "keeps nothing" in notes(["beta=0.1,0.3"], reference_cache=False)[0]
    assert "whole distributions" in notes(["beta=0.1,0.3"], method="tdpo")[0]
    assert "moves with the policy" in notes(["beta=0.1,0.3"], reference_sync="hard")[0]
    first, second = notes(["method=simpo,dpo"])
    assert first == "reference: not shared by method=simpo,seed=0, as method simpo learns without one"
    assert "each is computed once" in second
