"""Refusals of arguments, models and rows that cannot work."""

from pathlib import Path

import pytest
from peft import PromptTuningConfig, get_peft_model
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    MixtralConfig,
    MixtralForCausalLM,
)

from preftune import DPOTrainer, KTOTrainer
from preftune.errors import ConfigError, ModelError, TokenizerError
from tests.compat.runs import TOKENIZER, config_of, lora, make_model, make_rows, trainer_of


def test_all_arguments_that_cannot_work_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        DPOTrainer(
            make_model(),
            data_collator=print,  # type: ignore[arg-type]
            compute_metrics=print,  # type: ignore[arg-type]
            processing_class=TOKENIZER,
            tokenizer=TOKENIZER,
            max_prompt_length=3,
            betta=0.1,
        )
    text = str(caught.value)
    names = ("data_collator", "compute_metrics", "tokenizer and processing_class", "train_dataset")
    assert all(f"{name}: " in text for name in names)
    assert "max_prompt_length: not a supported argument" in text
    assert "betta: not a supported argument. Did you mean beta?" in text


def test_a_setting_in_addition_to_a_config_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"beta = 0.5: args is a DPOConfig"):
        DPOTrainer(make_model(), args=config_of(tmp_path), train_dataset=make_rows(), tokenizer=TOKENIZER, beta=0.5)


def test_a_config_of_another_trainer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="args: is a DPOConfig, and this trainer takes a KTOConfig"):
        KTOTrainer(make_model(), args=config_of(tmp_path), train_dataset=make_rows(), tokenizer=TOKENIZER)


def test_a_reference_that_the_loss_does_not_need_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="ref_model: the method preferred_ft has no reference"):
        trainer_of(tmp_path, ref_model=make_model(), loss_type="sft")


def test_a_field_that_was_set_after_the_config_was_made_is_checked(tmp_path: Path) -> None:
    args = config_of(tmp_path)
    args.auto_find_batch_size = True
    with pytest.raises(ConfigError, match="auto_find_batch_size"):
        DPOTrainer(make_model(), args=args, train_dataset=make_rows(), processing_class=TOKENIZER)


def test_models_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    model = make_model()
    with pytest.raises(ConfigError, match="ref_model: is the model itself"):
        trainer_of(tmp_path, model, ref_model=model)
    with pytest.raises(ConfigError, match="peft_config: the model has an adapter already"):
        trainer_of(tmp_path, get_peft_model(make_model(), lora()), peft_config=lora())
    with pytest.raises(ConfigError, match="prompt learning is not supported"):
        trainer_of(tmp_path, peft_config=PromptTuningConfig(num_virtual_tokens=2, task_type="CAUSAL_LM"))


def test_arguments_for_loading_are_refused_for_a_loaded_model(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="model_init_kwargs: the model is loaded already"):
        trainer_of(tmp_path, model_init_kwargs={"revision": "main"})


def test_a_model_with_nothing_to_train_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no parameter of it is trainable"):
        trainer_of(tmp_path, make_model().requires_grad_(False))


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no causal language model could be loaded"):
        trainer_of(tmp_path, str(tmp_path))


def test_a_missing_tokenizer_is_reported(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match="processing_class: is not given"):
        trainer_of(tmp_path, processing_class=None)


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    small = GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=32, n_layer=1, n_head=2))
    with pytest.raises(TokenizerError, match="not in the model"):
        trainer_of(tmp_path, small)
    with pytest.raises(TokenizerError, match="not in the model"):
        trainer_of(tmp_path, ref_model=small)


def test_a_row_beyond_the_models_positions_is_refused(tmp_path: Path) -> None:
    rows = [{"prompt": "What?", "chosen": " cake" * 300, "rejected": " eggs"}]
    with pytest.raises(ConfigError, match=r"max_length: train_dataset:1 has .* tokens.*Set max_length=256"):
        trainer_of(tmp_path, rows=rows)


def test_a_mixture_of_experts_needs_a_word_on_its_balance(tmp_path: Path) -> None:
    def model() -> MixtralForCausalLM:
        return MixtralForCausalLM(
            MixtralConfig(
                vocab_size=len(TOKENIZER), hidden_size=16, intermediate_size=16, num_hidden_layers=1,
                num_attention_heads=2, num_key_value_heads=2, num_local_experts=2, eos_token_id=TOKENIZER.eos_token_id,
            )
        )  # fmt: skip

    with pytest.raises(ConfigError, match="router_aux_loss_coef: the model's config says"):
        trainer_of(tmp_path, model())
    trainer_of(tmp_path, model(), router_aux_loss_coef=0.0, num_train_epochs=1).train()
