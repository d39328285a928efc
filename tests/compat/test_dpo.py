import math
from pathlib import Path
from typing import Any

import pytest

from preftune.compat import DPOConfig
from preftune.compat.dpo import LOSS_TYPES, WantedLosses
from preftune.errors import ConfigError


def make(folder: Path, **settings: Any) -> DPOConfig:
    return DPOConfig(output_dir=str(folder), use_cpu=True, **settings)


def test_defaults_are_those_of_trl(tmp_path: Path) -> None:
    config = make(tmp_path)
    assert (config.beta, config.learning_rate, config.max_length) == (0.1, 1e-6, 1024)
    assert (config.logging_steps, config.loss_type) == (10, ["sigmoid"])


@pytest.mark.parametrize("loss_type", ["sigmoid", ["sigmoid"], ("sigmoid",)])
def test_a_loss_type_can_be_given_alone_or_in_a_list(tmp_path: Path, loss_type: Any) -> None:
    config = make(tmp_path, loss_type=loss_type, beta=0.5, label_smoothing=0.1)
    assert config.loss_type == ["sigmoid"]
    assert config.method.name == "dpo"
    assert (config.method.options["beta"], config.method.options["label_smoothing"]) == (0.5, 0.1)


def test_all_invalid_settings_are_reported_at_once(tmp_path: Path) -> None:
    wrong = {"beta": -1.0, "discopop_tau": 0.5, "max_length": 1, "pad_token": "a", "ref_model_sync_steps": 0}
    with pytest.raises(ConfigError) as caught:
        make(tmp_path, **wrong)
    assert all(f"{name} = " in str(caught.value) for name in wrong)


def test_a_number_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="beta = nan"):
        make(tmp_path, beta=math.nan)


NEEDED: dict[str, dict[str, Any]] = {"exo_pair": {"label_smoothing": 0.1}}


@pytest.mark.parametrize("name", LOSS_TYPES)
def test_beta_is_the_option_of_every_loss_that_has_one(name: str) -> None:
    method = WantedLosses([name], **{"beta": 0.1 if name == "sft" else 0.7, **NEEDED.get(name, {})}).method
    assert [part.name for part in method.parts] == [LOSS_TYPES[name].loss]
    assert method.parts[0].options.get("beta", method.parts[0].options.get("tau", 0.7)) == 0.7


@pytest.mark.parametrize(
    ("settings", "name", "options"),
    [
        ({"loss_type": ["ipo"]}, "ipo", {"length_normalized": True}),
        ({"loss_type": ["bco_pair"]}, "bco_pair", {"shift": False}),
        ({"loss_type": ["discopop"], "discopop_tau": 0.5}, "discopop", {"tau": 0.5}),
        ({"loss_type": ["sigmoid"], "ld_alpha": 0.3}, "ld_dpo", {"alpha": 0.3}),
        ({"loss_type": ["sigmoid"], "ld_alpha": 1.0}, "dpo", {}),
        ({"loss_type": ["hinge"], "ld_alpha": 1.0}, "hinge", {}),
        ({"loss_type": ["sigmoid"], "use_weighting": True}, "wpo", {"clamped": False}),
        ({"loss_type": ["sigmoid"], "f_divergence_type": "js_divergence"}, "dpo", {"divergence": "js"}),
        (
            {"loss_type": ["sigmoid"], "f_divergence_type": "alpha_divergence", "f_alpha_divergence_coef": 0.75},
            "dpo",
            {"divergence": "alpha", "alpha": 0.25},
        ),
    ],
)
def test_fields_become_options(settings: dict[str, Any], name: str, options: dict[str, Any]) -> None:
    (part,) = WantedLosses(**settings).method.parts
    assert part.name == name
    assert {option: part.options[option] for option in options} == options


def test_several_losses_are_a_weighted_sum() -> None:
    method = WantedLosses(["ipo", "discopop", "sft"], [0.8, 1e-5, 1.0], beta=0.3, discopop_tau=0.2).method
    assert [(part.name, part.weight) for part in method.parts] == [
        ("ipo", 0.8),
        ("discopop", 1e-5),
        ("preferred_ft", 1.0),
    ]
    assert [part.options.get("tau") for part in method.parts] == [0.3, 0.2, None]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss_type": ["dpo"]}, r"loss_type = \['dpo'\]: not supported. Loss types: sigmoid, hinge, ipo"),
        ({"loss_type": []}, r"loss_type = \[\]: not supported"),
        ({"loss_type": ["ipo", "sigmoid", "ipo"]}, "ipo is listed twice"),
        ({"loss_weights": [0.5, 0.5]}, "needs one weight for each of the 1 loss types"),
        ({"loss_weights": [0.0]}, r"loss_weights = \[0.0\]: each must be a finite number > 0"),
        ({"loss_weights": [float("nan")]}, "each must be a finite number > 0"),
        ({"beta": 0.0, "loss_type": ["ipo"]}, "^beta = 0.0: must be above 0"),
        ({"loss_type": ["exo_pair"]}, r"^label_smoothing = 0.0: must be in \(0, 0.5\)"),
        ({"loss_type": ["hinge"], "label_smoothing": 0.1}, "label_smoothing = 0.1: hinge does not use it"),
        ({"ld_alpha": 0.5, "label_smoothing": 0.1}, "label_smoothing = 0.1: sigmoid does not use it"),
        ({"loss_type": ["sft"], "beta": 0.3}, "beta = 0.3: sft does not use it"),
        ({"discopop_tau": 0.5}, "discopop_tau = 0.5: sigmoid does not use it"),
        ({"loss_type": ["discopop"], "discopop_tau": 1.5}, r"^discopop_tau = 1.5: must be in \(0, 1\]"),
        ({"ld_alpha": 1.5}, r"^ld_alpha = 1.5: must be in \[0, 1\]"),
        (
            {"ld_alpha": 0.5, "loss_type": ["ipo", "sft"]},
            "ld_alpha = 0.5: works with loss_type sigmoid, alone or with sft, not with ipo, sft",
        ),
        ({"f_divergence_type": "forward_kl", "loss_type": ["hinge"]}, "forward_kl': works with loss_type sigmoid"),
        ({"f_divergence_type": "forward_kl", "loss_type": ["sft"]}, "forward_kl': works with loss_type sigmoid"),
        (
            {"use_weighting": True, "loss_type": ["sigmoid", "sft"]},
            "use_weighting = True: works with loss_type sigmoid alone, not with sigmoid, sft",
        ),
        ({"use_weighting": True, "ld_alpha": 0.5}, "ld_alpha and use_weighting: no method combines them"),
        ({"f_divergence_type": "kl"}, "f_divergence_type = 'kl': must be reverse_kl or forward_kl"),
        ({"f_alpha_divergence_coef": 0.7}, "f_alpha_divergence_coef = 0.7: unused without"),
        (
            {"f_divergence_type": "alpha_divergence", "f_alpha_divergence_coef": 1.0},
            r"f_alpha_divergence_coef = 1.0: must be in \(0, 1\)",
        ),
    ],
)
def test_problems_are_reported_by_field_name(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        WantedLosses(**{"loss_type": ["sigmoid"], **settings}).method  # noqa: B018


def test_all_problems_of_several_losses_are_reported_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        WantedLosses(["discopop", "robust"], [1.0], label_smoothing=0.6, discopop_tau=2.0).method  # noqa: B018
    assert [problem.split(" = ")[0] for problem in caught.value.problems] == [
        "loss_weights",
        "discopop_tau",
        "label_smoothing",
    ]
