"""`ORPOConfig` and `CPOConfig`."""

from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from transformers import TrainingArguments

from preftune import CPOConfig, CPOTrainer, ORPOConfig, ORPOTrainer, SFTConfig, SFTTrainer
from preftune.compat.reference_free import ReferenceFreeConfig
from preftune.compat.tuning_trainer import ReferenceFreeTrainer
from preftune.errors import ConfigError, DataError
from preftune.model.reference.reference import NoReference
from tests.compat.runs import (
    TOKENIZER,
    lora,
    losses,
    make_demonstrations,
    make_model,
    make_rows,
    settings_of,
    trainer_of,
)


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


DEMONSTRATION = {"prompt": "What?", "completion": " cake."}
CONVERSATION = {"messages": [{"role": "user", "content": "What?"}, {"role": "assistant", "content": "cake"}]}


def make_sft(folder: Path, **settings: Any) -> SFTConfig:
    return SFTConfig(output_dir=str(folder), use_cpu=True, **settings)


def test_completions_are_learned_or_else_all_turns(tmp_path: Path) -> None:
    config = make_sft(tmp_path)
    assert not config.learns_prompts(DEMONSTRATION)
    assert config.learns_prompts(CONVERSATION)


def test_completion_only_loss_selects_the_tokens(tmp_path: Path) -> None:
    assert not make_sft(tmp_path, completion_only_loss=True).learns_prompts(DEMONSTRATION)
    assert make_sft(tmp_path, completion_only_loss=False).learns_prompts(DEMONSTRATION)
    assert make_sft(tmp_path, completion_only_loss=False).learns_prompts(CONVERSATION)


def test_conversations_have_no_separate_completion(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="completion_only_loss = True: rows of messages have no completion"):
        make_sft(tmp_path, completion_only_loss=True).learns_prompts(CONVERSATION)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("loss_type", "dft"),
        ("assistant_only_loss", True),
        ("chat_template_path", "template.jinja"),
        ("eos_token", "<eos>"),
        ("dataset_text_field", "content"),
        ("dataset_kwargs", {"skip_prepare_dataset": True}),
        ("shuffle_dataset", True),
    ],
)
def test_a_field_that_is_not_supported_is_named(tmp_path: Path, name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"^{name} = "):
        make_sft(tmp_path, **{name: value})


def sft_of(folder: Path, rows: Any = None, **arguments: Any) -> Any:
    return trainer_of(folder, None, make_demonstrations() if rows is None else rows, SFTTrainer, **arguments)


def conversations(count: int = 32) -> list[dict[str, Any]]:
    return [
        {
            "messages": [
                {"role": "user", "content": row["prompt"]},
                {"role": "assistant", "content": row["chosen"]},
            ]
        }
        for row in make_rows(count)
    ]


def test_completions_are_imitated(tmp_path: Path) -> None:
    rows, held_out = Dataset.from_list(make_demonstrations()), make_demonstrations(4, seed=1)
    trainer = sft_of(tmp_path, rows, eval_dataset=held_out, learning_rate=1e-2)
    assert isinstance(trainer.objective.reference, NoReference)
    before = trainer.evaluate()["eval_loss"]
    trainer.train()
    assert losses(trainer)[-1] < 0.8 * losses(trainer)[0]
    assert trainer.evaluate()["eval_loss"] < before


def test_an_adapter_is_trained(tmp_path: Path) -> None:
    trainer = sft_of(tmp_path, peft_config=lora(), learning_rate=1e-2)
    trainer.train()
    assert losses(trainer)[-1] < losses(trainer)[0]


def test_plain_arguments_and_a_tokenizer_by_its_old_name_will_do(tmp_path: Path) -> None:
    plain = TrainingArguments(str(tmp_path), use_cpu=True, report_to=[], disable_tqdm=True, num_train_epochs=1)
    trainer = SFTTrainer(make_model(), plain, train_dataset=make_demonstrations(8), tokenizer=TOKENIZER, max_length=64)
    trainer.train()
    assert trainer.args.max_length == 64  # type: ignore[attr-defined]


def num_learned(trainer: Any) -> int:
    return sum(len(batch.targets) for step in trainer.train_steps for batch in step.micro_batches)


def test_prompts_are_learned_on_request(tmp_path: Path) -> None:
    rows = make_demonstrations(8)
    completions, everything = (sft_of(tmp_path, rows, completion_only_loss=choice) for choice in (None, False))
    prompts = sum(len(TOKENIZER(row["prompt"])["input_ids"]) for row in rows)
    assert num_learned(everything) == num_learned(completions) + prompts - len(rows)


def test_all_turns_of_conversations_are_learned(tmp_path: Path) -> None:
    trainer = sft_of(tmp_path, conversations(8))
    groups = [trainer.train_steps._groups[index] for index in range(8)]
    assert [len(group.prompt) for group in groups] == [1] * 8
    first = str(TOKENIZER.decode([*groups[0].prompt, *groups[0].completions[0]]))
    assert first.startswith(f"<|im_start|>user\n{conversations(1)[0]['messages'][0]['content']}")
    assert first.endswith(TOKENIZER.eos_token)


def test_a_conversation_is_cut_and_never_left_out(tmp_path: Path) -> None:
    trainer = sft_of(tmp_path, conversations(8), max_length=10)
    assert all(
        len(group.prompt) + len(group.completions[0]) <= 10
        for group in (trainer.train_steps._groups[index] for index in range(8))
    )
    assert trainer.data_reports["train_dataset"].dropped == ()


def test_dropout_stays_on_as_in_trl(tmp_path: Path) -> None:
    assert sft_of(tmp_path).args.disable_dropout is False


def test_arguments_that_are_not_taken_are_named_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        SFTTrainer(
            make_model(),
            train_dataset=make_demonstrations(),
            tokenizer=TOKENIZER,
            compute_loss_func=print,
            formatting_func=str,
            optimizer_cls_and_kwargs=(None, {}),
            preprocess_logits_for_metrics=None,
        )
    text = str(caught.value)
    assert all(f"{name}: not supported." in text for name in ("compute_loss_func", "formatting_func"))
    assert "optimizer_cls_and_kwargs: not supported. Give optimizers=" in text
    assert "preprocess_logits_for_metrics" not in text


@pytest.mark.parametrize("rows", [[{"text": "a cake"}], make_rows(2)])
def test_rows_without_demonstrations_are_refused(tmp_path: Path, rows: Any) -> None:
    with pytest.raises(DataError, match="the format demonstrations needs prompt, completion; or messages"):
        sft_of(tmp_path, rows)
