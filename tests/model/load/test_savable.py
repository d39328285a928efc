"""What cannot be saved is found before the first step."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from peft import LoraConfig, get_peft_model
from rich.console import Console
from transformers import AutoModelForCausalLM, GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from preftune.errors import ModelError
from preftune.model.load.savable import make_savable
from preftune.runs.run import train
from tests.builders import tiny_llama
from tests.cli.command_line import call, error_of, tune
from tests.compat.runs import trainer_of
from tests.data.tokenizers_for_tests import make_tokenizer
from tests.runs.inputs import config_of, write_model

SAMPLING = {
    "temperature": 0.9,
    "top_p": 0.6,
    "top_k": 20,
    "min_p": 0.05,
    "typical_p": 0.9,
    "epsilon_cutoff": 3e-4,
    "eta_cutoff": 3e-4,
}
"""Values that transformers refuses to write without `do_sample`."""


def write_generation(model: Path, **values: Any) -> Path:
    (model / "generation_config.json").write_text(json.dumps({"eos_token_id": 2, **values}))
    return model


def saved(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "generation_config.json").read_text())
    return found


@pytest.mark.parametrize("command", ["train", "sft"])
@pytest.mark.parametrize("values", [{}, {"do_sample": False}], ids=["as in Llama 2", "greedy"])
def test_a_run_from_a_generation_config_that_is_refused_saves_its_model(
    pairs_file: Path, tmp_path: Path, command: str, values: dict[str, Any]
) -> None:
    model = write_generation(write_model(tmp_path / "model"), temperature=0.9, top_p=0.6, **values)
    result = call(*tune(model, pairs_file, tmp_path / "run", "--max-steps", "2", "--save-every", "1", command=command))
    assert result.exit_code == 0, result.output
    assert "generation config: " in result.stdout
    for folder in (tmp_path / "run", tmp_path / "run" / "checkpoint-2"):
        AutoModelForCausalLM.from_pretrained(folder)
        kept = saved(folder)
        assert kept["do_sample"] is (values == {})
        assert kept.get("temperature") == (None if values else 0.9)


@pytest.mark.parametrize("name", SAMPLING)
@pytest.mark.parametrize("do_sample", [None, False])
def test_values_for_sampling_are_kept_unless_the_config_says_greedy(
    tmp_path: Path, name: str, do_sample: bool | None
) -> None:
    model = tiny_llama()
    model.generation_config = GenerationConfig(do_sample=do_sample, eos_token_id=2, **{name: SAMPLING[name]})
    (line,) = make_savable(model, make_tokenizer())
    model.generation_config.eos_token_id = [2, 5]
    model.save_pretrained(tmp_path)
    kept = saved(tmp_path)
    if do_sample is None:
        assert kept["do_sample"] is True
        assert kept[name] == SAMPLING[name]
    else:
        assert f"{name} = {SAMPLING[name]}" in line
        assert name not in kept
    assert make_savable(model, make_tokenizer()) == []


@pytest.mark.parametrize(
    "values",
    [{"length_penalty": 2.0}, {"early_stopping": True, "top_k": 5}, {"pad_token_id": -1}, {"output_scores": True}],
)
def test_other_values_that_are_refused_are_left_out_and_no_more(tmp_path: Path, values: dict[str, Any]) -> None:
    model = tiny_llama()
    model.generation_config = GenerationConfig(max_new_tokens=7, do_sample=False, **values)
    (line,) = make_savable(model, make_tokenizer())
    assert all(f"{name} = " in line for name in values)
    model.generation_config.eos_token_id = 5
    model.save_pretrained(tmp_path)
    assert saved(tmp_path)["max_new_tokens"] == 7


def test_a_config_that_is_written_as_it_is_stays_as_it_is() -> None:
    model = tiny_llama()
    model.generation_config = GenerationConfig(do_sample=True, **SAMPLING)
    before = model.generation_config.to_dict()
    assert make_savable(model, make_tokenizer()) == []
    assert model.generation_config.to_dict() == before


def _tie(model: PreTrainedModel, _tokenizer: PreTrainedTokenizerBase) -> None:
    mlp = model.model.layers[0].mlp
    mlp.up_proj.weight = mlp.gate_proj.weight


def _spoil_config(model: PreTrainedModel, _tokenizer: PreTrainedTokenizerBase) -> None:
    model.config.note = object()


def _spoil_generation(model: PreTrainedModel, _tokenizer: PreTrainedTokenizerBase) -> None:
    setattr(model.generation_config, "note", object())  # noqa: B010


def _spoil_template(_model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    tokenizer.chat_template = "{{ '\ud800' }}"


def _spoil_tokenizer(_model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    tokenizer.init_kwargs["note"] = object()


SPOILS: dict[str, Callable[[PreTrainedModel, PreTrainedTokenizerBase], None]] = {
    "weights": _tie,
    "config": _spoil_config,
    "generation config": _spoil_generation,
    "tokenizer": _spoil_tokenizer,
}


@pytest.mark.parametrize("part", SPOILS)
def test_an_output_that_cannot_be_written_is_an_error(part: str) -> None:
    model, tokenizer = tiny_llama(), make_tokenizer()
    SPOILS[part](model, tokenizer)
    with pytest.raises(ModelError, match=f"its {part} cannot be saved"):
        make_savable(model, tokenizer)


def test_a_template_that_cannot_be_written_is_an_error() -> None:
    model, tokenizer = tiny_llama(), make_tokenizer()
    _spoil_template(model, tokenizer)
    with pytest.raises(ModelError, match="its tokenizer cannot be saved"):
        make_savable(model, tokenizer)


def test_an_adapter_is_tried_as_well() -> None:
    model = get_peft_model(tiny_llama(), LoraConfig(target_modules="all-linear"))
    assert make_savable(model, make_tokenizer()) == []
    vars(model.peft_config["default"])["revision"] = object()
    with pytest.raises(ModelError, match="adapter config cannot be saved"):
        make_savable(model, make_tokenizer())


def test_a_run_that_could_not_save_ends_before_its_first_step(pairs_file: Path, tmp_path: Path) -> None:
    model = write_model(tmp_path / "model")
    template = tmp_path / "chat.jinja"
    template.write_text("{% for message in messages %}{{ message['content'] }}{% endfor %}")
    output = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PreTrainedTokenizerBase, "save_pretrained", _refuse)
        error = error_of(*tune(model, pairs_file, output, "--chat-template", template))
        with pytest.raises(ModelError, match="tokenizer cannot be saved"):
            train(config_of(model, pairs_file, output, lora=True), console=Console(quiet=True))
        with pytest.raises(ModelError, match="tokenizer cannot be saved"):
            trainer_of(tmp_path)
    assert "its tokenizer cannot be saved (TypeError: no such type)" in error
    assert not (output / "metrics.jsonl").exists()


def _refuse(*_: Any, **__: Any) -> None:
    raise TypeError("no such type")


def test_trainers_with_the_arguments_of_trl_correct_it_as_well(tmp_path: Path) -> None:
    model = write_generation(write_model(tmp_path / "model"), temperature=0.9, do_sample=False)
    trainer = trainer_of(tmp_path, str(model), max_steps=1)
    trainer.train()
    trainer.save_model(str(tmp_path / "saved"))
    assert "temperature" not in saved(tmp_path / "saved")


def test_merging_into_such_a_model_corrects_it(pairs_file: Path, tmp_path: Path) -> None:
    model = write_generation(write_model(tmp_path / "model"), temperature=0.9)
    assert call(*tune(model, pairs_file, tmp_path / "run", "--lora", "--max-steps", "1")).exit_code == 0
    result = call("merge", "--model", tmp_path / "run", "--output", tmp_path / "merged")
    assert result.exit_code == 0, result.output
    assert "do_sample set to true" in result.stdout
    assert saved(tmp_path / "merged")["do_sample"] is True
