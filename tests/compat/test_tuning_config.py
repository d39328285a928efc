"""Properties of the configs of all trainers."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from transformers import HfArgumentParser, TrainingArguments

from preftune import CPOConfig, DPOConfig, KTOConfig, ORPOConfig, SFTConfig
from preftune.compat.tuning_config import TuningConfig
from preftune.errors import ConfigError
from preftune.runs.arguments import checkpointing_argument

KINDS: list[type[TuningConfig]] = [CPOConfig, DPOConfig, KTOConfig, ORPOConfig, SFTConfig]

UNSUPPORTED: dict[str, Any] = {
    "truncation_mode": "keep_end",
    "pad_to_multiple_of": 8,
    "router_aux_loss_coef": 0.1,
    "activation_offloading": True,
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
WRONG = {"max_length": 1, "dataset_num_proc": 0, "per_device_train_batch_size": 0, "gradient_accumulation_steps": 0}


def make(kind: type[TuningConfig], folder: Path, **settings: Any) -> Any:
    return kind(output_dir=str(folder), use_cpu=True, **settings)


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_a_field_that_is_not_supported_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{name} = "):
        make(DPOConfig, tmp_path, **{name: UNSUPPORTED[name]})


@pytest.mark.parametrize("kind", KINDS)
def test_all_invalid_settings_are_reported_at_once(tmp_path: Path, kind: type[TuningConfig]) -> None:
    with pytest.raises(ConfigError) as caught:
        make(kind, tmp_path, **UNSUPPORTED, **WRONG)
    text = str(caught.value)
    assert all(f"{name} = " in text for name in {**UNSUPPORTED, **WRONG})


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_checkpointing_can_be_turned_off_by_its_old_and_its_new_name(
    tmp_path: Path, kind: type[TuningConfig]
) -> None:
    assert getattr(make(kind, tmp_path), checkpointing_argument()) is True
    for name in {"gradient_checkpointing", checkpointing_argument()}:
        config = make(kind, tmp_path, **{name: False})
        assert getattr(config, checkpointing_argument()) is False
        assert config.gradient_checkpointing is False


def test_bfloat16_is_not_the_default_on_a_cpu(tmp_path: Path) -> None:
    assert make(SFTConfig, tmp_path).bf16 is False
    assert make(SFTConfig, tmp_path, bf16=True).bf16 is True


def test_an_unknown_field_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="no_such_field"):
        make(KTOConfig, tmp_path, no_such_field=1)


@pytest.mark.parametrize("kind", KINDS)
def test_plain_arguments_keep_their_values_and_gain_the_fields_of_the_method(
    tmp_path: Path, kind: type[TuningConfig]
) -> None:
    plain = TrainingArguments(str(tmp_path), use_cpu=True, learning_rate=3e-5, logging_steps=7)
    before = dict(vars(plain))
    config = kind.of(plain, {"max_length": 77})
    assert (config.learning_rate, config.logging_steps) == (3e-5, 7)
    assert (config.max_length, config.truncation_mode) == (77, "keep_start")
    assert config.method.name == make(kind, tmp_path).method.name
    assert vars(plain) == before


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_can_be_given_on_a_command_line(tmp_path: Path, kind: type[TuningConfig]) -> None:
    parser = HfArgumentParser(kind)  # type: ignore[arg-type]
    arguments = ["--output_dir", str(tmp_path), "--use_cpu", "--max_length", "77"]
    arguments += ["--model_init_kwargs", '{"revision": "main"}']
    (config,) = parser.parse_args_into_dataclasses(arguments)
    assert (config.max_length, config.model_init_kwargs) == (77, {"revision": "main"})
    assert all("help" in item.metadata for item in fields(kind) if item.init)


@pytest.mark.filterwarnings("ignore:You are importing from 'trl.experimental'")
@pytest.mark.parametrize("kind", KINDS)
def test_the_fields_and_defaults_are_those_of_the_installed_trl(tmp_path: Path, kind: type[TuningConfig]) -> None:
    trl = pytest.importorskip("trl", reason="TRL is not installed, so there is nothing to compare with")
    from trl.experimental import cpo, orpo

    homes = {CPOConfig: cpo, ORPOConfig: orpo}
    theirs = {item.name: item for item in fields(getattr(homes.get(kind, trl), kind.__name__))}
    ours = {item.name: item for item in fields(kind)}
    assert set(theirs) <= set(ours)
    for name, item in theirs.items():
        assert ours[name].default == item.default, name
