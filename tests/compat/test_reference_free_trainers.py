"""`ORPOTrainer` and `CPOTrainer`."""

from pathlib import Path
from typing import Any

import pytest

from preftune import CPOTrainer, ORPOConfig, ORPOTrainer
from preftune.compat.reference_free_trainer import ReferenceFreeTrainer
from preftune.errors import ConfigError
from preftune.model.reference.reference import NoReference
from tests.compat.runs import TOKENIZER, lora, losses, make_model, make_rows, settings_of, trainer_of

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


def test_what_only_other_trainers_take_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model_init: not supported\. Give the model"):
        ORPOTrainer(make_model(), train_dataset=make_rows(4), tokenizer=TOKENIZER, model_init=make_model)
