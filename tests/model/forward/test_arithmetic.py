from typing import Any

import pytest
import torch

from preftune.errors import ConfigError
from preftune.model.forward.arithmetic import Arithmetic
from preftune.runs import arguments
from preftune.settings import ModelSettings, TrainConfig


def settings_of(precision: Any = "auto") -> ModelSettings:
    return ModelSettings(model="gpt2", precision=precision)


@pytest.fixture
def mac(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose accelerator is not CUDA."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda *_: torch.device("mps"))


@pytest.mark.usefixtures("mac")
def test_an_accelerator_that_is_not_cuda_is_used() -> None:
    assert Arithmetic.of(settings_of()) == Arithmetic(torch.device("mps"))
    assert Arithmetic.of(settings_of("bf16")) == Arithmetic(torch.device("mps"), torch.bfloat16)


@pytest.mark.usefixtures("mac")
def test_a_run_trains_where_and_how_it_is_evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arguments, "checkpointing_argument", lambda: "gradient_checkpointing")
    monkeypatch.setattr(arguments, "TrainingArguments", dict)
    config = TrainConfig.of(model="gpt2", data="pairs.jsonl", output="run", precision="bf16")
    given: Any = arguments.training_arguments(config)
    found = Arithmetic.of(config.model)
    assert given["use_cpu"] == (found.device.type == "cpu")
    assert (given["bf16"], given["fp16"]) == (found.autocast == torch.bfloat16, found.autocast == torch.float16)


@pytest.mark.usefixtures("mac")
def test_half_precision_without_cuda_is_an_error() -> None:
    with pytest.raises(ConfigError, match="precision = fp16: needs a CUDA GPU"):
        Arithmetic.of(settings_of("fp16"))


def test_a_machine_without_an_accelerator_computes_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    assert Arithmetic.of(settings_of()) == Arithmetic(torch.device("cpu"))
