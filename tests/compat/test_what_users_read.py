"""Attributes, arguments and counts that user code and callbacks read, with the values of TRL."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers.trainer
from datasets import Dataset, IterableDataset, IterableDatasetDict
from huggingface_hub import ModelCard
from transformers import LlamaForSequenceClassification, TrainerCallback

from preftune import CPOTrainer, DPOConfig, DPOTrainer, KTOTrainer, ORPOTrainer, SFTTrainer
from preftune.compat.tuning_trainer import TuningTrainer
from preftune.errors import ConfigError, ModelError
from tests.compat.runs import (
    TOKENIZER,
    config_of,
    lora,
    losses,
    make_demonstrations,
    make_model,
    make_rows,
    make_thumbs,
    settings_of,
    trainer_of,
)
from tests.data.tokenizers_for_tests import make_tokenizer

SIZES: dict[str, Any] = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2}


class Seen(TrainerCallback):
    """The batch sizes that a callback is told, and the numbers of its calls."""

    def __init__(self) -> None:
        self.sizes: set[tuple[int, int, int | None]] = set()
        self.calls = {"on_step_begin": 0, "on_substep_end": 0, "on_step_end": 0}

    def on_step_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        self.calls["on_step_begin"] += 1

    def on_substep_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        self.calls["on_substep_end"] += 1

    def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        self.calls["on_step_end"] += 1
        self.sizes.add((args.per_device_train_batch_size, args.gradient_accumulation_steps, state.train_batch_size))


# --- batch sizes ----------------------------------------------------------------------------------------------


def test_callbacks_and_files_have_the_batch_size_of_the_user(tmp_path: Path) -> None:
    seen = Seen()
    trainer = trainer_of(tmp_path, callbacks=[seen], num_train_epochs=1, save_strategy="epoch", **SIZES)
    trainer.train()
    assert seen.sizes == {(4, 2, 4)}
    assert seen.calls == {"on_step_begin": 4, "on_substep_end": 4, "on_step_end": 4}
    checkpoint = tmp_path / "out/checkpoint-4"
    assert json.loads((checkpoint / "trainer_state.json").read_text())["train_batch_size"] == 4
    saved = torch.load(checkpoint / "training_args.bin", weights_only=False)
    assert (saved.per_device_train_batch_size, saved.gradient_accumulation_steps) == (4, 2)


@pytest.mark.parametrize("changes", [{}, {"max_steps": 3}, {"num_train_epochs": 2}], ids=str)
def test_samples_per_second_count_rows(tmp_path: Path, changes: dict[str, Any]) -> None:
    rows = make_rows(17)
    trainer = trainer_of(tmp_path, rows=rows, **{"num_train_epochs": 1, **SIZES, **changes})
    assert trainer.num_examples(trainer.get_train_dataloader()) == 17
    metrics = trainer.train().metrics
    steps = trainer.state.global_step
    rows_seen = changes["max_steps"] * 8 if "max_steps" in changes else 17 * changes.get("num_train_epochs", 1)
    ratio = metrics["train_samples_per_second"] / metrics["train_steps_per_second"]
    assert ratio == pytest.approx(rows_seen / steps, rel=0.05)


@pytest.mark.parametrize("sizes", [{"per_device_train_batch_size": 8}, SIZES], ids=["8", "4 x 2"])
def test_a_resumed_run_with_accumulation_continues_exactly(tmp_path: Path, sizes: dict[str, Any]) -> None:
    torch.manual_seed(0)
    weights = make_model().state_dict()

    def run(resume: bool = False, **changes: Any) -> list[float]:
        model = make_model()
        model.load_state_dict(weights)
        trainer = trainer_of(tmp_path, model, save_strategy="steps", save_steps=3, **sizes, **changes)
        trainer.train(resume_from_checkpoint=resume or None)
        return losses(trainer)

    whole = run()
    assert len(whole) == 8
    for later in (tmp_path / "out").glob("checkpoint-*"):
        if later.name != "checkpoint-3":
            (later / "trainer_state.json").unlink()
            later.rename(later.with_name("torn-" + later.name))
    assert run(resume=True) == whole


# --- rows -----------------------------------------------------------------------------------------------------


def test_data_sets_stay_those_of_the_user(tmp_path: Path) -> None:
    train, held_out = Dataset.from_list(make_rows(17)), {"near": Dataset.from_list(make_rows(6, seed=1))}
    trainer = trainer_of(tmp_path, rows=train, eval_dataset=held_out, eval_strategy="epoch", num_train_epochs=1)
    assert trainer.train_dataset is train
    assert trainer.eval_dataset is held_out
    trainer.train()
    assert len(trainer.train_dataset.select(range(3))) == 3
    assert trainer.evaluate("near")["eval_loss"] == trainer.evaluate()["eval_near_loss"]


def test_predict_gives_the_metrics_of_evaluate(tmp_path: Path) -> None:
    held_out = Dataset.from_list(make_rows(6, seed=1))
    trainer = trainer_of(tmp_path, eval_dataset=held_out)
    of_evaluate = trainer.evaluate()
    for rows in (trainer.eval_dataset, make_rows(6, seed=1)):
        found = trainer.predict(rows).metrics
        assert found["test_loss"] == of_evaluate["eval_loss"]
        assert {name.replace("test_", "eval_") for name in found} <= set(of_evaluate) | {"epoch"}


def stream(rows: list[dict[str, Any]]) -> IterableDataset:
    return Dataset.from_list(rows).to_iterable_dataset()


def test_a_stream_gives_as_many_rows_as_the_steps_take(tmp_path: Path) -> None:
    torch.manual_seed(0)
    weights = make_model().state_dict()
    found = []
    rows = make_rows(40)
    for given, changes in ((stream(rows), {"max_steps": 3}), (rows[:24], {"train_sampling_strategy": "sequential"})):
        model = make_model()
        model.load_state_dict(weights)
        trainer = trainer_of(tmp_path, model, rows=given, **{"num_train_epochs": 1, **SIZES, **changes})
        assert trainer.train_dataset is given
        trainer.train()
        found.append(losses(trainer))
    assert len(found[0]) == 3
    assert found[0] == found[1]


def test_a_stream_needs_a_number_of_steps(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="max_steps = -1: train_dataset is a stream"):
        trainer_of(tmp_path, rows=stream(make_rows(4)))


def test_held_out_streams_are_read_whole(tmp_path: Path) -> None:
    rows = make_rows(6, seed=1)
    expected = trainer_of(tmp_path, eval_dataset=rows).evaluate()["eval_loss"]
    for held_out in (stream(rows), IterableDatasetDict(near=stream(rows)), {"near": stream(rows)}):
        found = trainer_of(tmp_path, eval_dataset=held_out).evaluate()
        assert found["eval_near_loss" if isinstance(held_out, dict) else "eval_loss"] == expected


@pytest.mark.parametrize("with_adapter", [False, True])
def test_new_rows_are_evaluated_after_precomputing(tmp_path: Path, with_adapter: bool) -> None:
    torch.manual_seed(0)
    arguments: dict[str, Any] = {"peft_config": lora()} if with_adapter else {}
    trainer = trainer_of(tmp_path, precompute_ref_log_probs=True, num_train_epochs=1, learning_rate=1e-2, **arguments)
    assert trainer.evaluate(make_rows(4, seed=2))["eval_loss"] == pytest.approx(0.6931, abs=1e-4)
    trainer.train()
    assert trainer.evaluate(make_rows(4, seed=2))["eval_loss"] != pytest.approx(0.6931, abs=1e-4), "known from before"
    if with_adapter:
        assert trainer.evaluate(make_rows(4, seed=3))["eval_loss"] > 0
    else:
        with pytest.raises(ConfigError, match="evaluate them before training"):
            trainer.evaluate(make_rows(4, seed=3))


@pytest.mark.parametrize("name", [None, "far"])
def test_evaluation_without_rows_is_an_error_of_values(tmp_path: Path, name: str | None) -> None:
    with pytest.raises(ValueError, match="eval_dataset"):
        trainer_of(tmp_path).evaluate(name)


# --- attributes -----------------------------------------------------------------------------------------------


def test_the_settings_of_the_loss_are_attributes(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, beta=0.3, loss_type=["sigmoid", "sft"], label_smoothing=0.1)
    assert (trainer.beta, trainer.loss_types, trainer.loss_weights) == (0.3, ["sigmoid", "sft"], [1.0, 1.0])
    assert (trainer.label_smoothing, trainer.f_divergence_type, trainer.ld_alpha) == (0.1, "reverse_kl", None)
    assert (trainer.use_weighting, trainer.precompute_ref_logps, trainer.aux_loss_enabled) == (False, False, False)


def test_the_reference_model_is_an_attribute(tmp_path: Path) -> None:
    other = make_model()
    assert trainer_of(tmp_path, ref_model=other).ref_model is other
    assert trainer_of(tmp_path).ref_model is not None
    assert trainer_of(tmp_path, peft_config=lora()).ref_model is None
    assert trainer_of(tmp_path, rows=make_demonstrations(), kind=SFTTrainer).ref_model is None


def test_a_reference_is_loaded_by_its_folder(tmp_path: Path) -> None:
    make_model().save_pretrained(tmp_path / "other")
    trainer = trainer_of(tmp_path, ref_model=str(tmp_path / "other"))
    assert trainer.ref_model.config.name_or_path == str(tmp_path / "other")


def test_a_tokenizer_without_padding_pads_with_its_end(tmp_path: Path) -> None:
    tokenizer = make_tokenizer()
    tokenizer.pad_token = None
    trainer = trainer_of(tmp_path, processing_class=tokenizer)
    assert tokenizer.pad_token == tokenizer.eos_token
    assert trainer.model.config.pad_token_id == trainer.model.generation_config.pad_token_id == tokenizer.pad_token_id
    assert tokenizer(["a", "a b c"], padding=True)["attention_mask"]


# --- the constructor ------------------------------------------------------------------------------------------

REFERENCED = ["ref_model", "args", "", "rows", "rows", "tokenizer", "", "callbacks", "optimizers", "", "adapter"]
REFERENCE_FREE = ["args", "", "rows", "rows", "tokenizer", "", "callbacks", "optimizers", "", "adapter", ""]
PLACES: dict[type[TuningTrainer], list[str]] = {
    DPOTrainer: REFERENCED,
    KTOTrainer: REFERENCED,
    SFTTrainer: ["args", "", "rows", "rows", "tokenizer", "", "", "callbacks", "optimizers", "", "", "", "adapter", ""],
    ORPOTrainer: REFERENCE_FREE,
    CPOTrainer: REFERENCE_FREE,
}
ROWS = {KTOTrainer: make_thumbs, SFTTrainer: make_demonstrations}


@pytest.mark.parametrize("kind", PLACES, ids=lambda kind: kind.__name__)
def test_arguments_are_taken_by_place(tmp_path: Path, kind: type[TuningTrainer]) -> None:
    args = kind.config_class(**settings_of(tmp_path))
    given: dict[str, Any] = {"args": args, "rows": ROWS.get(kind, make_rows)(4), "tokenizer": TOKENIZER}
    given |= {"callbacks": [Seen()], "optimizers": (None, None), "adapter": lora()}
    by_place: Any = [given.get(name) for name in PLACES[kind]]
    trainer: Any = kind(make_model(), *by_place)
    assert trainer.args is args
    assert trainer.processing_class is TOKENIZER
    assert any(isinstance(one, Seen) for one in trainer.callback_handler.callbacks)
    assert hasattr(trainer.model, "peft_config")
    tags = ["preftune", kind.__name__.removesuffix("Trainer").lower()]
    assert trainer.model.model_tags == tags


def test_too_many_places_and_an_argument_given_twice_are_told(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="at most 12 positional"):
        ORPOTrainer(make_model(), *[None] * 12)
    with pytest.raises(TypeError, match="several values for args"):
        ORPOTrainer(make_model(), None, args=None)


@pytest.mark.parametrize(
    "name", ["compute_loss", "prediction_step", "_prepare_dataset", "_get_train_sampler", "concatenated_forward"]
)
def test_a_method_that_would_never_be_called_is_refused_when_it_is_overridden(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"Mine.{name}: is never called, .*\. \w+"):
        type("Mine", (DPOTrainer,), {name: print})
    mixin = type("Mixin", (), {name: print})
    with pytest.raises(ConfigError, match=name):
        type("Mine", (mixin, SFTTrainer), {})


def test_methods_that_are_called_may_be_overridden(tmp_path: Path) -> None:
    class Mine(DPOTrainer):
        logged = 0

        def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
            self.logged += 1
            super().log(logs, start_time)

    trainer = trainer_of(tmp_path, kind=Mine, num_train_epochs=1)
    trainer.train()
    assert trainer.logged == len(losses(trainer)) + 1


@pytest.mark.parametrize("place", ["model", "ref_model"])
def test_a_model_without_a_head_for_tokens_is_refused(tmp_path: Path, place: str) -> None:
    classifier: Any = LlamaForSequenceClassification(make_model().config)
    with pytest.raises(ModelError, match=f"^{place}: is a LlamaForSequenceClassification"):
        trainer_of(tmp_path, **{place: classifier})


IDLE: list[tuple[type[TuningTrainer], str, Any]] = [
    (DPOTrainer, "padding_free", True),
    (DPOTrainer, "precompute_ref_batch_size", 4),
    (KTOTrainer, "ref_model_mixup_alpha", 0.5),
    (DPOTrainer, "ref_model_sync_steps", 64),
    (SFTTrainer, "packing", True),
    (SFTTrainer, "eval_packing", True),
]


@pytest.mark.parametrize(("kind", "name", "value"), IDLE, ids=lambda given: str(given))
def test_a_field_that_changes_nothing_is_told_in_a_line_and_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: type[TuningTrainer], name: str, value: Any
) -> None:
    rows = ROWS.get(kind, make_rows)(8)
    found = []
    for changes in ({name: value}, {}):
        torch.manual_seed(0)
        caplog.clear()
        trainer = trainer_of(tmp_path, rows=rows, kind=kind, max_steps=2, **changes)
        told = [line for line in caplog.messages if line.startswith(name.removeprefix("eval_") + ":")]
        assert len(told) == len(changes)
        trainer.train()
        found.append(losses(trainer))
    assert found[0] == found[1]


# --- the hub --------------------------------------------------------------------------------------------------


def test_a_model_is_pushed_with_the_names_of_trl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pushed: list[dict[str, Any]] = []
    hub = SimpleNamespace(
        create_repo=lambda name, **_: SimpleNamespace(repo_id=f"me/{name}"),
        upload_folder=lambda **given: pushed.append(given),
    )
    monkeypatch.setattr(transformers.trainer, "hf_api", lambda: hub)
    make_model().save_pretrained(tmp_path / "model")
    trainer = trainer_of(tmp_path, str(tmp_path / "model"), num_train_epochs=1, **SIZES)
    trainer.train()
    trainer.push_to_hub(dataset_name="me/pairs", tags=["mine"])
    assert [given["repo_id"] for given in pushed] == ["me/out"]
    folder = Path(pushed[0]["folder_path"])
    assert {"model.safetensors", "config.json", "README.md"} <= {path.name for path in folder.iterdir()}
    card = ModelCard.load(folder / "README.md")
    assert card.data.datasets == ["me/pairs"]
    assert card.data.base_model is None, "a local path is no name on the hub"
    assert {"preftune", "dpo", "mine"} <= set(card.data.tags)
    assert "# out" in card.text
    assert "| steps | 4, batch size 8, learning rate 0.001 |" in card.text


def test_a_card_has_the_name_that_it_is_given(tmp_path: Path) -> None:
    trainer = DPOTrainer(make_model(), args=config_of(tmp_path), train_dataset=make_rows(2), processing_class=TOKENIZER)
    trainer.create_model_card(model_name="mine", dataset_name="a/b", tags="new")
    text = (tmp_path / "out/README.md").read_text()
    assert "# mine\n" in text
    assert "train_dataset | 2 prompts, 2 pairs" in text
    assert isinstance(trainer.args, DPOConfig)
