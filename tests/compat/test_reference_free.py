"""`ORPOConfig` and `CPOConfig`."""

from pathlib import Path
from typing import Any

import pytest

from preftune import CPOConfig, CPOTrainer, ORPOConfig, ORPOTrainer
from preftune.compat.reference_free import ReferenceFreeConfig
from preftune.compat.tuning_trainer import ReferenceFreeTrainer
from preftune.errors import ConfigError
from preftune.model.reference.reference import NoReference
from tests.compat.runs import TOKENIZER, lora, losses, make_model, make_rows, settings_of, trainer_of


def make(kind: type[ReferenceFreeConfig], folder: Path, **settings: Any) -> Any:
    return kind(output_dir=str(folder), use_cpu=True, **settings)


def test_beta_of_orpo_is_the_weight_of_the_odds_ratio(tmp_path: Path) -> None:
    odds, sft = make(ORPOConfig, tmp_path, beta=0.4).method.parts
    assert (odds.name, odds.options) == ("orpo", {"lambda_or": 0.4, "sft_weight": 0.0})
    assert (sft.name, sft.weight) == ("preferred_ft", 1.0)


@pytest.mark.parametrize(
    ("settings", "name", "options"),
    [
        ({"beta": 0.3}, "cpo + preferred_ft", {"beta": 0.3, "length_normalized": True, "sft_weight": 0.0}),
        ({"cpo_alpha": 0.5}, "cpo + 0.5*preferred_ft", {"beta": 0.1, "length_normalized": True, "sft_weight": 0.0}),
        ({"loss_type": "hinge", "beta": 0.2}, "0.2*slic + preferred_ft", {"delta": 5.0, "lambda_reg": 0.0}),
        (
            {"loss_type": "simpo", "beta": 2.0, "simpo_gamma": 1.0, "cpo_alpha": 0.0},
            "simpo",
            {"beta": 2.0, "gamma": 1.0},
        ),
    ],
)
def test_the_loss_types_of_cpo_are_sums_with_sft(
    tmp_path: Path, settings: dict[str, Any], name: str, options: dict[str, Any]
) -> None:
    method = make(CPOConfig, tmp_path, **settings).method
    assert method.name == name
    assert method.parts[0].options == options


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (CPOConfig, {"loss_type": "ipo"}, "loss_type = 'ipo': not supported. Loss types: sigmoid, hinge, simpo"),
        (CPOConfig, {"loss_type": "alphapo", "alpha": 0.25}, "loss_type = 'alphapo': not supported"),
        (CPOConfig, {"alpha": 0.25}, "alpha = 0.25: not supported. AlphaPO is not implemented"),
        (CPOConfig, {"label_smoothing": 0.1}, "label_smoothing = 0.1: not supported"),
        (CPOConfig, {"simpo_gamma": 1.0}, "simpo_gamma = 1.0: unused without loss_type = 'simpo'"),
        (CPOConfig, {"loss_type": "simpo", "simpo_gamma": -1.0}, "simpo_gamma = -1.0: must be at least 0"),
        (CPOConfig, {"beta": 0.0, "loss_type": "hinge"}, "beta = 0.0: must be a finite number > 0"),
        (CPOConfig, {"cpo_alpha": -1.0}, "cpo_alpha = -1.0: must be a finite number >= 0"),
        (ORPOConfig, {"beta": 0.0}, "beta = 0.0: must be above 0"),
        (ORPOConfig, {"padding_value": 7}, "padding_value = 7: not supported"),
        (ORPOConfig, {"max_completion_length": 7}, "max_completion_length = 7: not supported"),
        (CPOConfig, {"is_encoder_decoder": True}, "is_encoder_decoder = True: not supported"),
        (CPOConfig, {"generate_during_eval": True}, "generate_during_eval = True: not supported"),
    ],
)
def test_invalid_settings_are_named(
    tmp_path: Path, kind: type[ReferenceFreeConfig], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        make(kind, tmp_path, **settings)


KINDS: list[tuple[type[ReferenceFreeTrainer], dict[str, Any]]] = [
    (ORPOTrainer, {}),
    (CPOTrainer, {}),
    (CPOTrainer, {"loss_type": "hinge"}),
    (CPOTrainer, {"loss_type": "simpo", "beta": 2.0, "cpo_alpha": 0.0}),
]


@pytest.mark.parametrize(("kind", "changes"), KINDS)
@pytest.mark.parametrize("with_adapter", [False, True])
def test_margins_rise_without_a_reference(
    tmp_path: Path, kind: type[ReferenceFreeTrainer], changes: dict[str, Any], with_adapter: bool
) -> None:
    adapter = {"peft_config": lora(), "learning_rate": 1e-2} if with_adapter else {}
    trainer = trainer_of(tmp_path, None, None, kind, num_train_epochs=4, **changes, **adapter)
    assert isinstance(trainer.objective.reference, NoReference)
    trainer.train()
    logs = [log for log in trainer.state.log_history if "loss" in log]
    assert losses(trainer)[-1] < losses(trainer)[0]
    assert logs[-1]["rewards/margins"] > logs[0]["rewards/margins"]


@pytest.mark.parametrize(("kind", "changes"), KINDS)
def test_the_loss_of_held_out_pairs_is_that_of_training(
    tmp_path: Path, kind: type[ReferenceFreeTrainer], changes: dict[str, Any]
) -> None:
    given = {"max_steps": 1, "per_device_train_batch_size": 8, "per_device_eval_batch_size": 8}
    trainer = trainer_of(tmp_path, None, make_rows(8), kind, eval_dataset=make_rows(8), **changes, **given)
    before = trainer.evaluate()["eval_loss"]
    trainer.train()
    assert losses(trainer)[0] == pytest.approx(before, rel=1e-5)


def test_the_order_of_arguments_is_that_of_trl(tmp_path: Path) -> None:
    args = ORPOConfig(**settings_of(tmp_path))
    trainer = ORPOTrainer(make_model(), args, None, make_rows(4), processing_class=TOKENIZER, model_init=None)
    assert trainer.objective.method.name == "orpo + preferred_ft"


def test_arguments_of_other_trainers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model_init: not supported\. Give the model"):
        ORPOTrainer(make_model(), train_dataset=make_rows(4), tokenizer=TOKENIZER, model_init=make_model)
