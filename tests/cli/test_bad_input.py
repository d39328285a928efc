"""What users get wrong: a message that says what, where, why and what to do; no traceback; exit code 2."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command_line import error_of, tune
from tests.data.tokenizers_for_tests import make_tokenizer


def _rows(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


PAIR = {"prompt": "2+2=", "chosen": " 4", "rejected": " 5"}


def test_all_invalid_settings_are_reported_at_once(tmp_path: Path) -> None:
    arguments = ["--beta", "-1", "--batch-size", "many", "--epochs", "0", "--schedule", "wavy", "--lora-rank", "0"]
    error = error_of("train", *arguments, "--resume", "--overwrite", "--output", tmp_path)
    assert error.startswith("Error: 8 settings cannot work:")
    for problem in (
        "model: is not given.",
        "Set it with --model.",
        "data: is not given.",
        "beta = -1.0: must be above 0.",
        "batch_size = 'many': must be a whole number.",
        "schedule = 'wavy': must be one of cosine, linear, constant, inverse_sqrt.",
        "lora_rank = 0: must be in [1, 65536].",
        "overwrite and resume:",
    ):
        assert problem in error


def test_an_unknown_method_is_reported_with_the_nearest_name() -> None:
    error = error_of("train", "--method", "dpoo", "--model", "m", "--data", "d", "--output", "o")
    assert "method = dpoo: there is no such method. Did you mean dpo?" in error


@pytest.mark.parametrize("arguments", [["sft"], ["train", "--method", "sft"]])
def test_an_option_of_another_method_is_an_error(arguments: list[str]) -> None:
    error = error_of(*arguments, "--beta", "0.1", "--model", "m", "--data", "d", "--output", "o")
    assert "beta: not an option of method sft, which takes none." in error


def test_an_unknown_setting_of_a_file_is_reported_with_the_nearest_name(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("model: m\ndata: d\noutput: o\nbatchsize: 3\nmethod: [dpo]\n")
    error = error_of("train", "--config", tmp_path / "config.yaml")
    assert "batchsize: there is no such setting. Did you mean batch_size?" in error
    assert "method = ['dpo']: must be text" in error


def test_a_config_file_that_is_not_there_is_named() -> None:
    assert "nowhere.yaml: cannot be read" in error_of("train", "--config", "nowhere.yaml")


def test_an_empty_file_is_named(model_folder: Path, tmp_path: Path) -> None:
    data = _rows(tmp_path / "empty.jsonl")
    assert f"{data}: there are no rows." in error_of(*tune(model_folder, data, tmp_path / "run"))


def test_a_missing_column_is_reported_with_the_existing_columns(model_folder: Path, tmp_path: Path) -> None:
    data = _rows(tmp_path / "prefs.jsonl", {"prompt": "2+2=", "better": "4", "worse": "5"})
    error = error_of(*tune(model_folder, data, tmp_path / "run"))
    assert "prompt, better, worse" in error
    assert "--columns chosen=better,rejected=worse" in error


def test_a_score_that_is_not_a_number_is_reported_with_its_line(model_folder: Path, tmp_path: Path) -> None:
    data = _rows(tmp_path / "prefs.jsonl", PAIR, {**PAIR, "score_chosen": float("nan"), "score_rejected": 1.0})
    error = error_of(*tune(model_folder, data, tmp_path / "run"))
    assert f"{data}:2: field 'score_chosen' is nan. It must be a finite number." in error


def test_a_folder_without_a_tokenizer_is_named(model_folder: Path, pairs_file: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(model_folder, tmp_path / "model", ignore=shutil.ignore_patterns("tokenizer*"))
    error = error_of(*tune(folder, pairs_file, tmp_path / "run"))
    assert f"model = {folder}: no tokenizer could be loaded from it (" in error


def test_conversations_without_a_chat_template_are_an_error_with_advice(model_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(model_folder, tmp_path / "model", ignore=shutil.ignore_patterns("tokenizer*", "*.jinja"))
    make_tokenizer(chat_template=None).save_pretrained(folder)
    user, good, bad = ({"role": role, "content": text} for role, text in [("user", "2+2="), *[("assistant", "4")] * 2])
    row = {"prompt": [user], "chosen": [good], "rejected": [{**bad, "content": "5"}]}
    error = error_of(*tune(folder, _rows(tmp_path / "chat.jsonl", row), tmp_path / "run"))
    assert "the tokenizer has no chat template" in error
    assert "--chat-template FILE" in error


def test_a_vocabulary_larger_than_the_embedding_is_reported(
    model_folder: Path, pairs_file: Path, tmp_path: Path
) -> None:
    from tests.builders import tiny_llama

    folder = shutil.copytree(model_folder, tmp_path / "model", ignore=shutil.ignore_patterns("model*"))
    tiny_llama(vocab_size=50, num_hidden_layers=1).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    error = error_of(*tune(folder, pairs_file, tmp_path / "run"))
    assert "50" in error
    assert "embedding" in error
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_an_output_folder_that_cannot_be_created_is_reported(
    model_folder: Path, pairs_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    error = error_of(*tune(model_folder, pairs_file, tmp_path / "file" / "run"))
    assert "cannot be written" in error
    assert "--output" in error


def test_a_folder_of_other_things_is_never_overwritten(model_folder: Path, pairs_file: Path, tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("Dear Ada")
    error = error_of(*tune(model_folder, pairs_file, tmp_path, "--overwrite"))
    assert "holds files other than those of a preftune run" in error
    assert (tmp_path / "letters.txt").read_text() == "Dear Ada"
