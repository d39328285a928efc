"""Models and adapters that cannot be loaded are told in one message, and what can be mended is."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from preftune.compat.given import load_model
from preftune.errors import ModelError, PreftuneError
from preftune.model.load.load_model import load_causal_lm, load_config, load_policy, load_tokenizer
from preftune.model.reference.reference import FrozenCopy
from preftune.settings import ModelSettings
from tests.cli.command_line import call, error_of, tune
from tests.compat.runs import config_of as compat_config
from tests.compat.runs import trainer_of
from tests.runs.inputs import config_of, history, write_model

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:peft")

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22e\nsize 12345\n"


def write_adapter(folder: Path, base: Path, *, added: int = 0, name: str | None = None, **settings: Any) -> Path:
    """An adapter that was trained on `base` after `added` tokens were given to it, with its tokenizer."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(base), AutoTokenizer.from_pretrained(base)
    if added:
        tokenizer.add_tokens([f"<new-{number}>" for number in range(added)])
        model.resize_token_embeddings(len(tokenizer))
    lora = LoraConfig(
        r=4, task_type="CAUSAL_LM", target_modules=["q_proj", "v_proj"], init_lora_weights=False, **settings
    )
    adapted = get_peft_model(model, lora)
    adapted.peft_config["default"].base_model_name_or_path = name or str(base)
    adapted.save_pretrained(str(folder), save_embedding_layers=bool(added))
    tokenizer.save_pretrained(folder)
    return folder


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def replace_by_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("")


SPOILS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (shutil.rmtree, "there is no such folder"),
    "a file": (replace_by_file, "is a file"),
    "cut weights": (lambda folder: cut(folder / "model.safetensors"), "could be loaded from it (SafetensorError"),
    "empty weights": (lambda folder: (folder / "model.safetensors").write_bytes(b""), "could be loaded from it"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "could be loaded from it"),
    "pointer": (lambda folder: (folder / "model.safetensors").write_text(POINTER), "git lfs pull"),
    "tokenizer pointer": (lambda folder: (folder / "tokenizer.json").write_text(POINTER), "git lfs pull"),
    "cut tokenizer": (lambda folder: cut(folder / "tokenizer.json"), "no tokenizer could be loaded"),
    "cut config": (lambda folder: cut(folder / "config.json"), "could be loaded from it"),
    "unknown model": (lambda folder: (folder / "config.json").write_text('{"model_type": "nope"}'), "could be loaded"),
}


@pytest.mark.parametrize("spoil", SPOILS)
def test_a_model_that_cannot_be_loaded_is_one_message(tmp_path: Path, pairs_file: Path, spoil: str) -> None:
    folder = write_model(tmp_path / "model")
    work, message = SPOILS[spoil]
    work(folder)
    error = error_of(*tune(folder, pairs_file, tmp_path / "run"))
    assert message in error
    assert str(folder) in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists() or not any((tmp_path / "run").iterdir())
    with pytest.raises(PreftuneError) as found:
        trainer_of(tmp_path, str(folder), processing_class=None)
    assert message in str(found.value)


@pytest.mark.parametrize("name", ["./nowhere", "/no/such/model", "a/b/c", "~/nowhere", "nowhere/"])
def test_a_path_that_does_not_exist_is_never_looked_up_on_the_hub(name: str) -> None:
    settings = ModelSettings(model=name)
    for load in (load_tokenizer, load_config, load_causal_lm):
        with pytest.raises(ModelError, match=r"there is no such folder\. Correct the path") as found:
            load(settings)
        assert "hub" not in str(found.value)


@pytest.mark.parametrize("name", ["nowhere", "owner/nowhere"])
def test_a_name_that_may_be_on_the_hub_is_told_as_both(name: str) -> None:
    settings = ModelSettings(model=name)
    for load in (load_tokenizer, load_config, load_causal_lm):
        with pytest.raises(ModelError, match=r"no such folder here, and no .* could be loaded from the hub"):
            load(settings)


def test_an_adapter_names_its_base_by_an_absolute_path(
    model_folder: Path, pairs_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(model_folder, tmp_path / "m" / "base")
    monkeypatch.chdir(tmp_path)
    base = Path("m/base")
    assert call(*tune(base, pairs_file, Path("run"), "--lora", "--max-steps", "1")).exit_code == 0
    write_adapter(tmp_path / "other", model_folder, name="m/base")
    assert call(*tune(Path("other"), pairs_file, Path("further"), "--lora", "--max-steps", "1")).exit_code == 0
    for folder in ("run", "further", "run/checkpoint-1"):
        kept = json.loads((tmp_path / folder / "adapter_config.json").read_text())
        assert kept["base_model_name_or_path"] == str((tmp_path / base).resolve())
    assert call("eval", "--model", "run", "--data", pairs_file).exit_code == 0
    monkeypatch.chdir(tmp_path / "m")
    assert call("merge", "--model", "../run", "--output", "../merged").exit_code == 0


def test_a_base_that_is_gone_is_named_with_its_adapter(model_folder: Path, pairs_file: Path, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "adapter", model_folder, name="some/folder/base")
    messages = [error_of(*tune(adapter, pairs_file, tmp_path / "run", *lora)) for lora in ([], ["--lora"])]
    messages.append(error_of("merge", "--model", adapter, "--output", tmp_path / "merged"))
    with pytest.raises(ModelError) as found:
        load_model(str(adapter), compat_config(tmp_path))
    for message in (*messages, str(found.value)):
        assert str(adapter) in message
        assert "base_model_name_or_path = some/folder/base: there is no such folder" in message


@pytest.mark.parametrize("added", [1, 8])
def test_an_adapter_over_more_tokens_resizes_its_base_by_its_tokenizer(
    model_folder: Path, pairs_file: Path, tmp_path: Path, added: int
) -> None:
    adapter = write_adapter(tmp_path / "adapter", model_folder, added=added)
    rows = len(AutoTokenizer.from_pretrained(adapter))
    for model in (
        load_causal_lm(ModelSettings(model=str(adapter))),
        load_model(str(adapter), compat_config(tmp_path)),
    ):
        assert isinstance(model, PeftModel)
        assert model.get_input_embeddings().weight.shape[0] == rows
    for name, further in {"lora": ["--lora"], "full": []}.items():
        assert call(*tune(adapter, pairs_file, tmp_path / name, "--max-steps", "1", *further)).exit_code == 0
    assert load_causal_lm(ModelSettings(model=str(tmp_path / "full"))).config.vocab_size == rows


def test_an_adapter_over_more_tokens_without_their_tokenizer_is_one_message(
    model_folder: Path, pairs_file: Path, tmp_path: Path
) -> None:
    adapter = write_adapter(tmp_path / "adapter", model_folder, added=8)
    for file in model_folder.glob("*token*"):
        shutil.copy(file, adapter)
    error = error_of(*tune(adapter, pairs_file, tmp_path / "run", "--lora"))
    assert f"does not fit its base model {model_folder}, which has" in error
    with pytest.raises(ModelError, match="does not fit its base model"):
        load_model(str(adapter), compat_config(tmp_path))


def test_an_adapter_that_is_cut_off_or_a_pointer_is_one_message(
    model_folder: Path, pairs_file: Path, tmp_path: Path
) -> None:
    adapter = write_adapter(tmp_path / "adapter", model_folder)
    cut(adapter / "adapter_model.safetensors")
    assert "SafetensorError" in error_of(*tune(adapter, pairs_file, tmp_path / "run", "--lora"))
    (adapter / "adapter_model.safetensors").write_text(POINTER)
    assert "git lfs pull" in error_of(*tune(adapter, pairs_file, tmp_path / "run", "--lora"))
    (adapter / "adapter_model.safetensors").unlink()
    assert "could be loaded from it" in error_of(*tune(adapter, pairs_file, tmp_path / "run", "--lora"))
    (adapter / "adapter_config.json").write_text("{")
    assert "could be loaded from it" in error_of(*tune(adapter, pairs_file, tmp_path / "run", "--lora"))


@pytest.mark.parametrize("bias", ["all", "lora_only"])
def test_an_adapter_with_biases_is_trained_against_itself_as_it_was(
    pairs_file: Path, tmp_path: Path, bias: str
) -> None:
    base = write_model(tmp_path / "base", attention_bias=True)
    adapter = write_adapter(tmp_path / "adapter", base, bias=bias)
    config = config_of(adapter, pairs_file, tmp_path / "run", lora=True)
    policy = load_policy(config)
    assert isinstance(policy.reference, FrozenCopy)
    result = call(*tune(adapter, pairs_file, tmp_path / "run", "--lora", "--max-steps", "2"))
    assert result.exit_code == 0, result.output
    assert history(tmp_path / "run")[0] == pytest.approx(0.693147, abs=1e-5)
    result = call("eval", "--model", tmp_path / "run", "--data", pairs_file, "--reference", base)
    assert result.exit_code == 0, result.output
    assert "adapter off" not in result.output
    trainer = trainer_of(tmp_path, str(adapter), max_steps=1)
    assert isinstance(trainer.objective.reference, FrozenCopy)


@pytest.mark.parametrize("bias", ["all", "lora_only", "none"])
def test_the_reference_of_a_new_adapter_with_biases_stays_as_it_was(tmp_path: Path, bias: Any) -> None:
    base = write_model(tmp_path / "base", attention_bias=True)
    lora = LoraConfig(r=4, task_type="CAUSAL_LM", target_modules=["q_proj", "v_proj"], bias=bias)
    trainer = trainer_of(tmp_path, str(base), peft_config=lora, max_steps=3, learning_rate=0.1)
    trainer.train()
    assert isinstance(trainer.objective.reference, FrozenCopy) is (bias != "none")
    token_ids = torch.arange(3, 19)[None]
    with torch.no_grad():
        expected = AutoModelForCausalLM.from_pretrained(base)(token_ids).logits
        if isinstance(trainer.objective.reference, FrozenCopy):
            found = trainer.objective.reference.model(token_ids).logits
            torch.testing.assert_close(found, expected)
            assert (trainer.model(token_ids).logits - expected).abs().max() > 1e-3


CONTRADICTIONS: dict[str, Any] = {
    "lora_rank": 64,
    "lora_alpha": 1,
    "lora_dropout": 0.5,
    "lora_targets": ["down_proj"],
}


def test_settings_that_contradict_the_adapter_are_told_at_once(
    model_folder: Path, pairs_file: Path, tmp_path: Path
) -> None:
    adapter = write_adapter(tmp_path / "adapter", model_folder)
    flags = ["--lora-rank", "64", "--lora-alpha", "1", "--lora-targets", "down_proj", "--lora-dropout", "0.5"]
    error = error_of(*tune(adapter, pairs_file, tmp_path / "run", "--lora", *flags))
    for name in CONTRADICTIONS:
        assert f"{name} = " in error
    assert "which has 4." in error
    assert "which has ['q_proj', 'v_proj']." in error


@pytest.mark.parametrize("name", CONTRADICTIONS)
@pytest.mark.parametrize("command", ["train", "sft"])
def test_each_setting_that_contradicts_the_adapter_is_an_error(
    model_folder: Path, pairs_file: Path, tmp_path: Path, name: str, command: str
) -> None:
    adapter = write_adapter(tmp_path / "adapter", model_folder)
    value = CONTRADICTIONS[name]
    flag = f"--{name.replace('_', '-')}={value[0] if isinstance(value, list) else value}"
    error = error_of(*tune(adapter, pairs_file, tmp_path / "run", "--lora", flag, command=command))
    assert f"{name} = {value}: the run trains the adapter {adapter} further" in error


def test_a_run_that_trains_an_adapter_further_records_its_settings(
    model_folder: Path, pairs_file: Path, tmp_path: Path
) -> None:
    adapter = write_adapter(tmp_path / "adapter", model_folder)
    arguments = tune(adapter, pairs_file, tmp_path / "run", "--lora", "--max-steps", "2", "--save-every", "1")
    assert call(*arguments).exit_code == 0
    config = (tmp_path / "run" / "config.yaml").read_text()
    assert "lora_rank: 4" in config
    assert "lora_alpha: 8" in config
    assert "lora_targets: [q_proj, v_proj]" in config
    assert call(*arguments, "--resume").exit_code == 0
    again = call("train", "--config", tmp_path / "run" / "config.yaml", "--output", tmp_path / "again")
    assert again.exit_code == 0, again.output
    same = ["--lora-rank", "4", "--lora-alpha", "8", "--lora-targets", "v_proj", "--lora-targets", "q_proj"]
    assert call(*tune(adapter, pairs_file, tmp_path / "same", "--lora", "--max-steps", "1", *same)).exit_code == 0
