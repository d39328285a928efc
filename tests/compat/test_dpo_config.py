import math
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from transformers import HfArgumentParser, TrainingArguments

from preftune.compat import DPOConfig
from preftune.errors import ConfigError
from preftune.training.arguments import checkpointing_argument


def make(folder: Path, **settings: Any) -> DPOConfig:
    return DPOConfig(output_dir=str(folder), use_cpu=True, **settings)


def test_defaults_are_those_of_trl(tmp_path: Path) -> None:
    config = make(tmp_path)
    assert (config.beta, config.learning_rate, config.max_length) == (0.1, 1e-6, 1024)
    assert (config.logging_steps, config.loss_type) == (10, ["sigmoid"])
    assert getattr(config, checkpointing_argument()) is True


def test_gradient_checkpointing_can_be_turned_off_by_its_old_and_its_new_name(tmp_path: Path) -> None:
    for name in {"gradient_checkpointing", checkpointing_argument()}:
        config = make(tmp_path, **{name: False})
        assert getattr(config, checkpointing_argument()) is False
        assert config.gradient_checkpointing is False


def test_bfloat16_is_not_the_default_on_a_cpu(tmp_path: Path) -> None:
    assert make(tmp_path).bf16 is False
    assert make(tmp_path, bf16=True).bf16 is True


@pytest.mark.parametrize("loss_type", ["sigmoid", ["sigmoid"]])
def test_sigmoid_is_dpo_with_its_options(tmp_path: Path, loss_type: Any) -> None:
    config = make(tmp_path, loss_type=loss_type, beta=0.5, label_smoothing=0.1)
    assert config.loss_type == ["sigmoid"]
    assert config.method.name == "dpo"
    assert config.method.options == {"beta": 0.5, "label_smoothing": 0.1}


UNSUPPORTED: dict[str, Any] = {
    "loss_type": ["ipo"],
    "truncation_mode": "keep_end",
    "padding_free": True,
    "pad_to_multiple_of": 8,
    "precompute_ref_batch_size": 4,
    "loss_weights": [0.5],
    "ld_alpha": 0.5,
    "f_divergence_type": "js_divergence",
    "f_alpha_divergence_coef": 0.7,
    "use_weighting": True,
    "discopop_tau": 0.1,
    "router_aux_loss_coef": 0.1,
    "activation_offloading": True,
    "sync_ref_model": True,
    "ref_model_mixup_alpha": 0.5,
    "ref_model_sync_steps": 64,
    "pad_token": "<pad>",
    "label_smoothing_factor": 0.1,
    "train_sampling_strategy": "group_by_length",
    "dataloader_drop_last": True,
    "auto_find_batch_size": True,
    "include_num_input_tokens_seen": True,
    "bf16_full_eval": True,
    "data_seed": 7,
    "deepspeed": {"zero_optimization": {"stage": 2}},
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_a_field_that_is_not_supported_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{name} = "):
        make(tmp_path, **{name: UNSUPPORTED[name]})


def test_all_that_cannot_work_is_said_at_once(tmp_path: Path) -> None:
    wrong = {"beta": -1.0, "max_length": 1, "dataset_num_proc": 0, "per_device_train_batch_size": 0}
    with pytest.raises(ConfigError) as caught:
        make(tmp_path, **{**UNSUPPORTED, "loss_type": "sigmoid", **wrong})
    text = str(caught.value)
    assert all(f"{name} = " in text for name in {**UNSUPPORTED, **wrong} if name != "loss_type")


def test_a_loss_that_is_not_supported_comes_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"loss_type = \['sigmoid', 'sft'\]: not supported yet. Supported: sigmoid"):
        make(tmp_path, loss_type=["sigmoid", "sft"])


def test_a_number_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="beta = nan"):
        make(tmp_path, beta=math.nan)


def test_an_unknown_field_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="no_such_field"):
        make(tmp_path, no_such_field=1)


def test_plain_arguments_keep_their_values_and_gain_the_fields_of_dpo(tmp_path: Path) -> None:
    plain = TrainingArguments(str(tmp_path), use_cpu=True, learning_rate=3e-5, logging_steps=7)
    before = dict(vars(plain))
    config = DPOConfig.of(plain, {"beta": 0.3})
    assert (config.learning_rate, config.logging_steps) == (3e-5, 7)
    assert (config.beta, config.max_length, config.loss_type) == (0.3, 1024, ["sigmoid"])
    assert vars(plain) == before


def test_every_field_can_be_given_on_a_command_line(tmp_path: Path) -> None:
    parser = HfArgumentParser(DPOConfig)  # type: ignore[arg-type]
    arguments = ["--output_dir", str(tmp_path), "--use_cpu", "--beta", "0.2", "--loss_type", "sigmoid"]
    arguments += ["--model_init_kwargs", '{"revision": "main"}']
    (config,) = parser.parse_args_into_dataclasses(arguments)
    assert (config.beta, config.loss_type, config.model_init_kwargs) == (0.2, ["sigmoid"], {"revision": "main"})
    assert all("help" in item.metadata for item in fields(DPOConfig) if item.init)


def test_the_fields_and_defaults_are_those_of_the_installed_trl(tmp_path: Path) -> None:
    trl = pytest.importorskip("trl", reason="TRL is not installed, so there is nothing to compare with")
    theirs = {item.name: item for item in fields(trl.DPOConfig)}
    ours = {item.name: item for item in fields(DPOConfig)}
    assert set(theirs) <= set(ours)
    for name, item in theirs.items():
        assert ours[name].default == item.default, name
