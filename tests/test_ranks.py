from pathlib import Path

import pytest
from torch import distributed
from transformers import TrainingArguments

import preftune
from preftune import DPOConfig
from preftune.errors import ConfigError, OutputError, TrainingError
from preftune.ranks import check_no_deepspeed, naming_lost_ranks, on_main
from preftune.settings.foreign import foreign_hint

CLOSED = "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:33429"


def test_a_process_alone_does_the_work_and_raises_its_errors() -> None:
    def fail() -> None:
        raise OutputError("run: cannot be written")

    assert on_main(lambda: "done") == "done"
    with pytest.raises(OutputError, match="cannot be written"):
        on_main(fail)


LOST = [RuntimeError(CLOSED), distributed.DistBackendError("NCCL error"), distributed.DistNetworkError("reset")]


@pytest.mark.parametrize("error", LOST)
def test_a_collective_without_a_partner_is_a_message(error: RuntimeError) -> None:
    with pytest.raises(TrainingError, match="another process of the run has ended"), naming_lost_ranks():
        raise error


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), TrainingError("gloo"), ValueError("gloo")])
def test_other_errors_pass(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, naming_lost_ranks():
        raise error
    assert caught.value is error


@pytest.mark.parametrize("value", ["true", "True", "1", "yes"])
def test_deepspeed_of_the_launcher_is_refused_before_anything_imports_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: str
) -> None:
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", value)
    with pytest.raises(ConfigError, match=r"ACCELERATE_USE_DEEPSPEED = .*--fsdp_version 2"):
        preftune.train(model="gpt2", data="prefs.jsonl", output=str(tmp_path / "run"))
    with pytest.raises(ConfigError, match=r"ACCELERATE_USE_DEEPSPEED = .*--fsdp_version 2"):
        DPOConfig(str(tmp_path), use_cpu=True)


@pytest.mark.parametrize("value", ["ds.json", {"zero_optimization": {"stage": 2}}])
def test_deepspeed_of_arguments_is_refused_with_the_way_out(tmp_path: Path, value: object) -> None:
    with pytest.raises(ConfigError, match=r"deepspeed = .*--fsdp_version 2"):
        DPOConfig(str(tmp_path), use_cpu=True, deepspeed=value)  # type: ignore[arg-type]
    arguments = TrainingArguments(str(tmp_path), use_cpu=True)
    arguments.deepspeed = value  # type: ignore[assignment]
    with pytest.raises(ConfigError, match=r"deepspeed = .*--fsdp_version 2"):
        check_no_deepspeed(arguments)


@pytest.mark.parametrize("name", ["deepspeed", "deepspeed_config", "zero_stage"])
def test_names_of_deepspeed_are_answered_with_the_setting_of_fsdp(name: str) -> None:
    assert "--fsdp_version 2" in foreign_hint(name)


@pytest.mark.parametrize("value", ["false", "0", ""])
def test_a_launcher_without_deepspeed_passes(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", value)
    check_no_deepspeed()
