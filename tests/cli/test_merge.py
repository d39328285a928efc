"""From an adapter trained on the command line to a plain model."""

import shutil
from pathlib import Path

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

from preftune.model.load.load_model import load_causal_lm
from preftune.settings import ModelSettings
from tests.cli.command_line import call, error_of, tune


@pytest.fixture(scope="module")
def adapter(model_folder: Path, pairs_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "lora"
    result = call(*tune(model_folder, pairs_file, folder, "--lora", "--lora-rank", "2", "--learning-rate", "0.1"))
    assert result.exit_code == 0, result.output
    assert f"preftune merge --model {folder} --output {folder}-merged" in result.stdout
    return folder


def test_a_merged_model_gives_the_logits_of_the_adapter(adapter: Path, model_folder: Path, tmp_path: Path) -> None:
    result = call("merge", "--model", adapter, "--output", tmp_path / "merged")
    assert result.exit_code == 0, result.output
    token_ids = torch.arange(3, 19)[None]
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged").eval()
    base = AutoModelForCausalLM.from_pretrained(model_folder).eval()
    adapted = load_causal_lm(ModelSettings(model=str(adapter))).eval()
    with torch.no_grad():
        torch.testing.assert_close(merged(token_ids).logits, adapted(token_ids).logits, rtol=1e-4, atol=1e-4)
        assert (merged(token_ids).logits - base(token_ids).logits).abs().max() > 1e-2
    assert len(AutoTokenizer.from_pretrained(tmp_path / "merged")) > 0
    assert [path.name for path in tmp_path.iterdir()] == ["merged"]


def test_a_merged_model_has_a_card_with_the_facts_of_the_run(adapter: Path, tmp_path: Path) -> None:
    for source in (adapter, next(adapter.glob("checkpoint-*"))):
        merged = tmp_path / source.name
        assert call("merge", "--model", source, "--output", merged).exit_code == 0
        card = (merged / "README.md").read_text()
        assert yaml.safe_load(card.split("---")[1])["library_name"] == "transformers"
        assert f"The adapter `{source.name}`, merged into its base model" in card
        assert "trained by the method `dpo`" in card
        assert "| beta | 0.1 |" in card
        assert ("## Result" in card) == (source == adapter)
        (tmp_path / "probe").touch()
        assert {file.stat().st_mode for file in merged.iterdir()} == {(tmp_path / "probe").stat().st_mode}


def test_an_adapter_of_no_run_is_merged_with_a_card(adapter: Path, tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(adapter / name, tmp_path / "bare" / name)
    assert call("merge", "--model", tmp_path / "bare", "--output", tmp_path / "merged").exit_code == 0
    card = (tmp_path / "merged" / "README.md").read_text()
    assert "The adapter `bare`, merged into its base model" in card
    assert "## Result" not in card


def test_the_type_of_the_weights_can_be_chosen(adapter: Path, tmp_path: Path) -> None:
    assert call("merge", "--model", adapter, "--output", tmp_path, "--weights-dtype", "bfloat16").exit_code == 0
    assert AutoModelForCausalLM.from_pretrained(tmp_path, dtype="auto").dtype == torch.bfloat16


def test_an_adapter_can_be_generated_from(adapter: Path, model_folder: Path) -> None:
    arguments: list[str | Path] = [
        "--compare",
        model_folder,
        "--prompt",
        "What is",
        "--max-new-tokens",
        "3",
        "--temperature",
        "0",
    ]
    assert call("generate", "--model", adapter, *arguments).exit_code == 0


def test_a_model_without_an_adapter_is_refused(model_folder: Path, tmp_path: Path) -> None:
    error = error_of("merge", "--model", model_folder, "--output", tmp_path / "merged")
    assert "holds no adapter" in error
    assert not (tmp_path / "merged").exists()


def test_a_model_is_replaced_only_on_demand_and_other_files_never(adapter: Path, tmp_path: Path) -> None:
    merged = tmp_path / "merged"
    assert call("merge", "--model", adapter, "--output", merged).exit_code == 0
    assert "already holds a model" in error_of("merge", "--model", adapter, "--output", merged)
    assert call("merge", "--model", adapter, "--output", merged, "--overwrite").exit_code == 0
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "ada.txt").write_text("Dear Ada")
    error = error_of("merge", "--model", adapter, "--output", tmp_path / "letters", "--overwrite")
    assert "other than those of a model" in error
    assert (tmp_path / "letters" / "ada.txt").exists()


def test_the_adapter_itself_is_never_overwritten(adapter: Path) -> None:
    assert "holds the adapter itself" in error_of("merge", "--model", adapter, "--output", adapter, "--overwrite")
    assert (adapter / "adapter_config.json").is_file()


def test_missing_arguments_are_reported_at_once() -> None:
    error = error_of("merge")
    assert "model: is not given." in error
    assert "output: is not given." in error
