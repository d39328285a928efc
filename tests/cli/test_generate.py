import json
from pathlib import Path

import pytest

from tests.cli.command_line import call, error_of, tune
from tests.runs.inputs import write_model

SHORT = ("--max-new-tokens", "4")


def test_prompts_are_shown_with_their_completions(model_folder: Path) -> None:
    result = call("generate", "--model", model_folder, "--prompt", "What is", "--prompt", "Who is", *SHORT)
    assert result.exit_code == 0, result.output
    assert result.stdout.index("What is") < result.stdout.index("Who is")
    assert result.stderr == ""


def test_the_same_seed_gives_the_same_and_another_seed_something_else(model_folder: Path) -> None:
    texts = [
        call("generate", "--model", model_folder, "--prompt", "What is", *SHORT, "--seed", seed).stdout
        for seed in ("1", "1", "2")
    ]
    assert texts[0] == texts[1] != texts[2]


def test_two_models_are_shown_side_by_side(model_folder: Path, tmp_path: Path) -> None:
    other = write_model(tmp_path / "other", num_hidden_layers=1)
    result = call("generate", "--model", model_folder, "--compare", other, "--prompt", "What is", *SHORT)
    assert result.exit_code == 0, result.output
    assert "┃ prompt " in result.stdout
    assert "│ What is" in result.stdout


def test_a_file_gets_a_line_per_model_prompt_and_sample(model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("What is\n\nWho is\n")
    output = tmp_path / "out.jsonl"
    arguments: list[str | Path] = [
        "--compare",
        model_folder,
        "--prompts",
        tmp_path / "prompts.txt",
        "--num-samples",
        "2",
    ]
    result = call("generate", "--model", model_folder, *arguments, *SHORT, "--output", output)
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert [line["prompt"] for line in lines] == ["What is"] * 4 + ["Who is"] * 4
    assert set(lines[0]) == {"model", "prompt", "completion", "num_tokens", "finished"}
    assert [line["completion"] for line in lines[:2]] == [line["completion"] for line in lines[2:4]]
    error = error_of("generate", "--model", model_folder, "--prompt", "What is", *SHORT, "--output", output)
    assert "exists already" in error
    assert "--overwrite" in error


def test_a_mix_of_a_run_and_its_reference_is_drawn_from(model_folder: Path, pairs_file: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert call(*tune(model_folder, pairs_file, run)).exit_code == 0
    prompt: tuple[str | Path, ...] = ("--prompt", "What is", "--seed", "1", *SHORT)

    def completions(model: Path, *arguments: str | Path) -> list[str]:
        output = tmp_path / "out.jsonl"
        result = call("generate", "--model", model, *prompt, *arguments, "--output", output, "--overwrite")
        assert result.exit_code == 0, result.output
        return [json.loads(line)["completion"] for line in output.read_text().splitlines()]

    assert completions(run, "--strength", "1") == completions(run)
    assert completions(run, "--strength", "0") == completions(model_folder)
    by_name = completions(run, "--strength", "0.5", "--reference", model_folder, "--num-samples", "3")
    assert by_name == completions(run, "--strength", "0.5", "--num-samples", "3")
    result = call("generate", "--model", run, *prompt, "--strength", "0.5", "--compare", run)
    assert "strength 0.5" in result.stdout
    assert json.loads((tmp_path / "out.jsonl").read_text().splitlines()[0])["strength"] == 0.5


def test_a_mix_needs_a_reference_and_a_strength(model_folder: Path) -> None:
    prompt = ("--prompt", "What is", *SHORT)
    error = error_of("generate", "--model", model_folder, *prompt, "--strength", "0.5")
    assert "is neither a run nor an adapter" in error
    error = error_of("generate", "--model", model_folder, *prompt, "--strength", "-1", "--reference", "none")
    assert "strength = -1.0: must be at least 0" in error
    assert "reference is none" in error
    error = error_of("generate", "--model", model_folder, *prompt, "--reference", model_folder)
    assert "is what --strength mixes in" in error


@pytest.mark.parametrize(
    ("row", "shown"),
    [
        ({"prompt": "What is", "chosen": " 1", "rejected": " 2"}, "What is"),
        ({"prompt": [{"role": "user", "content": "Who?"}]}, "user: Who?"),
        ({"chosen": "\n\nHuman: Why?\n\nAssistant: So.", "rejected": "\n\nHuman: Why?\n\nAssistant: No."}, "Why?"),
    ],
)
def test_prompts_are_taken_from_data_files(
    row: dict[str, object], shown: str, model_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "data.jsonl").write_text(json.dumps(row) + "\n")
    result = call("generate", "--model", model_folder, "--prompts", tmp_path / "data.jsonl", *SHORT)
    assert result.exit_code == 0, result.output
    assert shown in result.stdout


def test_text_goes_through_the_chat_template_unless_it_is_off(model_folder: Path) -> None:
    def lines(*arguments: str) -> list[str]:
        result = call("generate", "--model", model_folder, "--prompt", "Who?", "--seed", "1", *arguments, *SHORT)
        assert result.exit_code == 0, result.output
        return result.stdout.splitlines()

    turned, raw = lines(), lines("--chat", "off")
    assert turned[0] == "chat: template of the tokenizer (text prompts become user turns; --chat off for raw text)"
    assert raw[0].startswith("chat: raw text, as chat = off asks")
    assert turned[1] == raw[1] == "Who?"
    assert turned[2:] != raw[2:]
    assert turned == lines("--chat", "on")
    rendered = "<|im_start|>user\nWho?<|im_end|>\n<|im_start|>assistant\n"
    same = call("generate", "--model", model_folder, "--prompt", rendered, "--seed", "1", *SHORT)
    assert same.stdout.splitlines()[-2:] == turned[-2:]
    assert "rendered prompts stay as they are" in same.stdout


def test_an_empty_prompt_file_is_named(model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("\n\n")
    error = error_of("generate", "--model", model_folder, "--prompts", tmp_path / "prompts.txt")
    assert "prompts.txt: has no prompts." in error


def test_prompt_with_prompts_and_other_invalid_settings_are_reported_together() -> None:
    arguments = ["--prompt", "a", "--prompts", "b.txt", "--temperature", "-1", "--top-p", "2"]
    error = error_of("generate", *arguments)
    for problem in ("model: is not given.", "prompt and prompts:", "temperature = -1.0:", "top_p = 2.0:"):
        assert problem in error


def test_neither_prompt_nor_prompts_is_an_error() -> None:
    assert "prompt: is not given." in error_of("generate", "--model", "m")


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    error = error_of("generate", "--model", tmp_path, "--prompt", "a")
    assert f"model = {tmp_path}: no tokenizer could be loaded from it (" in error


def test_the_default_length_fits_the_positions_of_the_model_and_a_given_one_is_an_error(tmp_path: Path) -> None:
    small = write_model(tmp_path / "small", num_hidden_layers=1, max_position_embeddings=32)
    result = call("generate", "--model", small, "--prompt", "What is")
    assert result.exit_code == 0, result.output
    assert "room beside the longest prompt in the model's 32 positions" in result.stdout
    assert "max_new_tokens = 128: the longest prompt" in error_of(
        "generate", "--model", small, "--prompt", "What is", "--max-new-tokens", "128"
    )


def test_control_characters_of_prompts_do_not_reach_the_terminal(model_folder: Path) -> None:
    for more in ((), ("--compare", model_folder)):
        result = call("generate", "--model", model_folder, "--prompt", "What\x1b[2J is\x07", *SHORT, *more)
        assert "\x1b" not in result.stdout
        assert "[2J is" in result.stdout
