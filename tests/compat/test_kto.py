from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset

from preftune import KTOConfig, KTOTrainer
from preftune.errors import ConfigError, DataError
from preftune.model.reference.cached import Cached
from preftune.model.reference.reference import AdapterOff, FrozenCopy
from tests.compat.runs import TOKENIZER, lora, losses, make_model, make_rows, make_thumbs, trainer_of


def make(folder: Path, **settings: Any) -> KTOConfig:
    return KTOConfig(output_dir=str(folder), use_cpu=True, **settings)


@pytest.mark.parametrize("loss_type", ["kto", "apo_zero_unpaired"])
def test_the_fields_are_the_options_of_the_loss(tmp_path: Path, loss_type: str) -> None:
    options = {"beta": 0.5, "desirable_weight": 1.5, "undesirable_weight": 0.8}
    method = make(tmp_path, loss_type=loss_type, **options).method
    assert method.name == loss_type
    assert method.options == options


def test_rows_keep_their_order_by_default(tmp_path: Path) -> None:
    assert not make(tmp_path).shuffles
    assert make(tmp_path, train_sampling_strategy="random").shuffles


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss_type": "bco"}, "loss_type = 'bco': not supported. Loss types: kto, apo_zero_unpaired"),
        ({"beta": 0.0}, "beta = 0.0: must be above 0"),
        ({"desirable_weight": -1.0}, "desirable_weight = -1.0: must be above 0"),
    ],
)
def test_invalid_settings_are_named(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make(tmp_path, **settings)


HALF = pytest.approx(0.5, abs=1e-6)
METRICS = {"loss", "rewards/chosen", "rewards/rejected", "rewards/margins", "logps/chosen", "logps/rejected"}


def kto_of(folder: Path, model: Any = None, rows: Any = None, **arguments: Any) -> Any:
    return trainer_of(folder, model, make_thumbs() if rows is None else rows, KTOTrainer, **arguments)


@pytest.mark.parametrize("loss_type", ["kto", "apo_zero_unpaired"])
def test_good_answers_become_likelier_and_bad_ones_less_likely(tmp_path: Path, loss_type: str) -> None:
    trainer = kto_of(tmp_path, rows=Dataset.from_list(make_thumbs()), loss_type=loss_type, num_train_epochs=4)
    assert isinstance(trainer.objective.reference, FrozenCopy)
    trainer.train()
    found = losses(trainer)
    assert found[0] == HALF
    assert found[-1] < 0.48
    assert set(trainer.state.log_history[0]) >= METRICS
    assert trainer.state.log_history[-2]["rewards/margins"] > 0.1


def test_a_row_is_a_completion(tmp_path: Path) -> None:
    trainer = kto_of(tmp_path, per_device_train_batch_size=2, gradient_accumulation_steps=4)
    steps = list(trainer.train_steps)
    assert [step.num_units for step in steps] == [{"kto": 8}] * 4


def test_pairs_are_split_into_good_and_bad_completions(tmp_path: Path) -> None:
    trainer = kto_of(tmp_path, rows=make_rows(8), per_device_train_batch_size=4)
    assert (trainer.data_reports["train_dataset"].num_desirable, trainer.data_reports["train_dataset"].num_pairs) == (
        8,
        0,
    )
    assert [step.num_units for step in trainer.train_steps] == [{"kto": 4}] * 4
    trainer.train()
    assert losses(trainer)[0] == HALF


def test_a_micro_batch_holds_the_requested_number_of_completions_for_pairs_too(tmp_path: Path) -> None:
    trainer = kto_of(tmp_path, rows=make_rows(16), per_device_train_batch_size=2, gradient_accumulation_steps=4)
    batches = [batch for step in trainer.train_steps for batch in step.micro_batches]
    longest = max(span.completions[-1][1] - span.prompt[0] for batch in batches for span in batch.spans)
    assert max(len(batch.token_ids) for batch in batches) <= longest


def test_conversations_are_read(tmp_path: Path) -> None:
    def turn(role: str, text: str) -> list[dict[str, str]]:
        return [{"role": role, "content": text}]

    rows = [
        {**row, "prompt": turn("user", row["prompt"]), "completion": turn("assistant", row["completion"])}
        for row in make_thumbs()
    ]
    trainer = kto_of(tmp_path, rows=rows, num_train_epochs=1)
    trainer.train()
    assert losses(trainer)[0] == HALF


@pytest.mark.parametrize("with_adapter", [False, True])
def test_reference_log_probs_computed_before_serve_mismatched_completions_too(
    tmp_path: Path, with_adapter: bool
) -> None:
    found = []
    for precompute in (False, True):
        torch.manual_seed(0)
        trainer = kto_of(
            tmp_path,
            precompute_ref_log_probs=precompute,
            eval_strategy="epoch",
            eval_dataset={"others": make_thumbs(6, seed=1)},
            peft_config=lora() if with_adapter else None,
        )
        trainer.train()
        assert isinstance(trainer.objective.reference, Cached) == precompute
        found.append(losses(trainer))
    assert found[1] == pytest.approx(found[0], rel=1e-5)


def test_a_new_adapter_is_compared_with_the_model_without_it(tmp_path: Path) -> None:
    trainer = kto_of(tmp_path, peft_config=lora(), learning_rate=1e-2, num_train_epochs=4)
    assert isinstance(trainer.objective.reference, AdapterOff)
    trainer.train()
    assert losses(trainer)[-1] < losses(trainer)[0]


def test_the_reference_can_follow_the_policy(tmp_path: Path) -> None:
    trainer = kto_of(tmp_path, sync_ref_model=True, ref_model_mixup_alpha=1.0, ref_model_sync_steps=1)
    trainer.train()
    assert losses(trainer) == [HALF] * 8


def test_held_out_rows_have_their_own_matches(tmp_path: Path) -> None:
    trainer = kto_of(tmp_path, eval_dataset=make_thumbs(5, seed=1))
    assert trainer.evaluate()["eval_loss"] == HALF
    assert trainer.evaluate(make_rows(4, seed=2))["eval_loss"] == HALF


def test_uneven_kinds_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [*make_thumbs(4), *({**row, "label": True} for row in make_thumbs(16, seed=1))]
    trainer = kto_of(tmp_path, rows=rows)
    assert "the desirable ones weigh 9 times the others together" in caplog.text
    assert len(trainer.data_reports["train_dataset"].warnings) == 1


def test_rows_without_thumbs_are_refused(tmp_path: Path) -> None:
    rows = [{"prompt": row["prompt"], "completion": row["completion"]} for row in make_thumbs(4)]
    with pytest.raises(DataError, match="marked as desirable"):
        kto_of(tmp_path, rows=rows)


def test_a_mismatched_completion_beyond_the_models_positions_is_refused(tmp_path: Path) -> None:
    long_prompt = {"prompt": "What" + " cake" * 160, "completion": " eggs.", "label": True}
    long_answer = {"prompt": "What?", "completion": " cake" * 160, "label": False}
    model = make_model()
    with pytest.raises(ConfigError, match=r"max_length: train_dataset:1 has .* tokens.*Set max_length=256"):
        kto_of(tmp_path, model, [long_prompt, long_answer], max_length=None)
    kto_of(tmp_path, model, [long_prompt, long_answer], max_length=256, processing_class=TOKENIZER)
