import re

import pytest

from preftune.errors import ConfigError
from preftune.losses import LOSSES, loss_options
from preftune.settings import SETTINGS, TrainConfig
from preftune.settings.foreign import FOREIGN, foreign_hint

OURS = {"method", *SETTINGS, *(option.name for loss in LOSSES.values() for option in loss_options(loss))}


@pytest.mark.parametrize("name", FOREIGN)
def test_each_foreign_name_leads_to_names_of_ours(name: str) -> None:
    text = FOREIGN[name]
    named = [text] if re.fullmatch(r"\w+", text) else re.findall(r"\{(\w+)\}", text)
    assert set(named) <= OURS
    assert name not in OURS


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("per_device_train_batch_size", "batch_size"),
        ("gradient_accumulation_steps", "batch_size"),
        ("num_train_epochs", "epochs"),
        ("lora_r", "lora_rank"),
        ("warmup_ratio", "warmup"),
        ("lr", "learning_rate"),
        ("max_seq_length", "max_length"),
        ("ref_model", "reference_model"),
        ("report_to_wandb", ""),
    ],
)
def test_a_config_with_a_foreign_name_says_ours(name: str, ours: str) -> None:
    settings = {"model": "m", "data": "d", "output": "o", name: 1}
    with pytest.raises(ConfigError, match=rf"{name}: there is no such setting\. .*{ours}"):
        TrainConfig.of(**settings)  # type: ignore[arg-type]


def test_flags_are_spelled_as_flags() -> None:
    assert foreign_hint("--max-prompt-length", lambda own: f"--{own}").startswith("Set --max_length, the tokens")


def test_names_that_nobody_uses_have_no_hint() -> None:
    assert foreign_hint("blorp") == ""


def test_weights_in_4_bits_need_an_adapter_and_bitsandbytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("preftune.settings.sections.find_spec", lambda _: None)
    with pytest.raises(ConfigError) as caught:
        TrainConfig.of(model="m", data="d", output="o", load_in_4bit=True, lora=True)
    assert "load_in_4bit: needs bitsandbytes, which is not installed" in str(caught.value)
    monkeypatch.setattr("preftune.settings.sections.find_spec", lambda _: object())
    with pytest.raises(ConfigError, match="load_in_4bit: weights in 4 bits cannot be trained"):
        TrainConfig.of(model="m", data="d", output="o", load_in_4bit=True)
    assert TrainConfig.of(model="m", data="d", output="o", load_in_4bit=True, lora=True).model.load_in_4bit
