"""`--chat` and `--chat-template-kwargs` have one meaning in all commands, and a run remembers them."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from rich.console import Console

from preftune.cli.generate import ModelCompletions, show
from preftune.groups import Prompt
from preftune.model.generation.completions import Generation
from preftune.model.generation.prompts import note_on_empty
from preftune.settings import TrainConfig
from preftune.settings.chat import ChatChoice
from preftune.settings.evaluation_config import EvaluationConfig
from tests.builders import tiny_llama
from tests.cli.command_line import call, error_of, tune
from tests.data.tokenizers_for_tests import CHATML, make_tokenizer
from tests.runs.inputs import write_model

SHORT = ("--max-new-tokens", "24", "--seed", "1")
TEMPLATE = "chat: template of the tokenizer (text prompts become user turns; --chat off for raw text)"
WITH_VARIABLE = "{% if shouts %}<|im_start|>system\nSHOUT<|im_end|>\n{% endif %}" + CHATML


@pytest.fixture(scope="module")
def without_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = write_model(tmp_path_factory.mktemp("raw"), num_hidden_layers=1)
    (folder / "chat_template.jinja").unlink()
    return folder


@pytest.fixture(scope="module")
def shouting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = write_model(tmp_path_factory.mktemp("shouting"), num_hidden_layers=1)
    make_tokenizer(chat_template=WITH_VARIABLE).save_pretrained(folder)
    return folder


def completion(model: Path, *arguments: str | Path) -> str:
    """The last line that generate shows."""
    result = call("generate", "--model", model, "--prompt", "Who?", *SHORT, *arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("mode", ["auto", "on", "off"])
def test_generate_and_eval_follow_the_choice_of_the_run(
    mode: str, model_folder: Path, pairs_file: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    trained = call(*tune(model_folder, pairs_file, run, "--chat", mode))
    assert trained.exit_code == 0, trained.output
    line = next(line for line in trained.stdout.splitlines() if line.startswith("chat: "))
    assert (line == TEMPLATE) == (mode != "off")
    assert yaml.safe_load((run / "config.yaml").read_text())["chat"] == mode
    assert json.loads((run / "summary.json").read_text())["chat"] == line.removeprefix("chat: ")
    assert completion(run) == completion(run, "--chat", mode)
    assert (completion(run) == completion(run, "--chat", "off")) == (mode == "off")
    evaluated = call("eval", "--model", run, "--data", pairs_file, "--samples", "1", "--max-new-tokens", "4")
    assert evaluated.exit_code == 0, evaluated.output
    assert line in evaluated.stdout
    assert "reference: 0 log-probs computed" in evaluated.stdout  # the same tokens as in training


def test_the_suggested_command_needs_no_flag(model_folder: Path, pairs_file: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    lines = call(*tune(model_folder, pairs_file, run)).stdout.splitlines()
    suggested = next(line for line in lines if "preftune generate" in line)
    assert suggested.strip() == f"preftune generate --model {run} --compare {model_folder} --prompt '...'"
    assert TEMPLATE in completion(run, "--compare", model_folder)


def test_a_compared_model_without_a_template_uses_that_of_the_model(
    model_folder: Path, without_template: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.jsonl"
    completion(model_folder, "--compare", without_template, "--output", output)
    first, other = (json.loads(line)["completion"] for line in output.read_text().splitlines())
    assert first == other  # of the same weights


def test_on_without_a_template_is_an_error_everywhere(without_template: Path, pairs_file: Path, tmp_path: Path) -> None:
    on = ("--chat", "on")
    for arguments in (
        tune(without_template, pairs_file, tmp_path / "run", *on),
        tune(without_template, pairs_file, tmp_path / "run", *on, command="sft"),
        ["generate", "--model", without_template, "--prompt", "Who?", *on],
        ["eval", "--model", without_template, "--data", pairs_file, *on],
        ["check", pairs_file, "--tokenizer", without_template, *on],
    ):
        assert "chat = on: the tokenizer has no chat template" in error_of(*arguments)
    assert "chat: raw text (the tokenizer has no chat template" in completion(without_template)
    assert "chat = 'sometimes': must be one of auto, on, off" in error_of(
        *tune(without_template, pairs_file, tmp_path / "run", "--chat", "sometimes")
    )


def test_variables_of_the_template_are_remembered_by_the_run(shouting: Path, pairs_file: Path, tmp_path: Path) -> None:
    run, variables = tmp_path / "run", ("--chat-template-kwargs", '{"shouts": true}')
    assert call(*tune(shouting, pairs_file, run, *variables)).exit_code == 0
    assert yaml.safe_load((run / "config.yaml").read_text())["chat_template_kwargs"] == {"shouts": True}
    assert completion(run) == completion(run, *variables)
    assert completion(run) != completion(run, "--chat-template-kwargs", "{}")
    repeated = tmp_path / "repeated"
    assert call("train", "--config", run / "config.yaml", "--output", repeated).exit_code == 0
    assert completion(repeated) == completion(run)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("shouts", "must be a JSON object"),
        ("[1]", "must be a JSON object"),
        ('{"shout": true}', "the chat template of the tokenizer has no variable 'shout'"),
        ('{"tokenize": true}', "gives 'tokenize', which the conversation itself decides"),
    ],
)
def test_variables_that_cannot_work_are_an_error(
    text: str, problem: str, shouting: Path, pairs_file: Path, tmp_path: Path
) -> None:
    given = ("--chat-template-kwargs", text)
    assert problem in error_of(*tune(shouting, pairs_file, tmp_path / "run", *given))
    assert problem in error_of("generate", "--model", shouting, "--prompt", "Who?", *given)


def test_prompts_of_a_file_bring_their_system_turn_and_variables(shouting: Path, tmp_path: Path) -> None:
    rows = [{"prompt": "Who?"}, {"prompt": "Who?", "chat_template_kwargs": {"shouts": True}}]
    rows += [{"prompt": "Who?", "system": "SHOUT"}]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    output = tmp_path / "out.jsonl"
    result = call(
        *("generate", "--model", shouting, "--prompts", tmp_path / "prompts.jsonl", "--output", output),
        *("--temperature", "0", "--max-new-tokens", "6"),
    )
    assert result.exit_code == 0, result.output
    plain, by_variable, by_system = (json.loads(line)["completion"] for line in output.read_text().splitlines())
    assert plain != by_variable == by_system


def test_convert_makes_messages_of_text(pairs_file: Path, tmp_path: Path) -> None:
    output = tmp_path / "messages.jsonl"
    assert call("convert", pairs_file, "--to", "messages", "--output", output).exit_code == 0
    row = json.loads(output.read_text().splitlines()[0])
    assert row["prompt"] == [{"role": "user", "content": "What is 1+1?"}]
    assert row["chosen"] == [{"role": "assistant", "content": " It is 2."}]
    again = tmp_path / "again.jsonl"
    assert call("convert", output, "--to", "messages", "--output", again).exit_code == 0
    assert again.read_text() == output.read_text()
    error = error_of("convert", pairs_file, "--to", "messages", "--chat", "off", "--output", tmp_path / "c.jsonl")
    assert "chat = off: keeps text as it is" in error


def test_a_model_that_ends_at_once_is_not_shown_as_nothing(tmp_path: Path) -> None:
    tokenizer = make_tokenizer()
    model = tiny_llama(vocab_size=len(tokenizer), eos_token_id=tokenizer.eos_token_id, tie_word_embeddings=False)
    with torch.no_grad():  # the final norm keeps one direction, and the head turns it into the end alone
        model.model.norm.weight.zero_()
        model.lm_head.weight.zero_()
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    arguments = ("generate", "--model", tmp_path, "--prompt", "Who?", "--temperature", "0")  # all alike: token 0 ends
    note = "(ended at once: nothing stands before the end-of-sequence token)"
    assert note in call(*arguments).stdout
    beside = call(*arguments, "--compare", tmp_path).stdout
    assert beside.count("(ended at once:") == 2


@pytest.mark.parametrize(("text", "finished"), [("", True), (" \n", True), ("", False)])
def test_an_empty_completion_has_a_note_and_another_has_none(text: str, finished: bool) -> None:
    ids = torch.zeros(1).numpy().astype("int32")
    console = Console(record=True, width=120)
    show(console, [Prompt("Who?")], [ModelCompletions("m", [[Generation(ids, ids, text, finished)]])])
    note = note_on_empty(text, finished=finished)
    assert note is not None
    assert note in console.export_text()
    assert note_on_empty("4", finished=finished) is None


@pytest.mark.parametrize("kept", [("--chat", "off"), ("--chat-template-kwargs", '{"shouts": true}')])
def test_a_merged_model_remembers_the_choice_of_its_run(
    kept: tuple[str, str], shouting: Path, pairs_file: Path, tmp_path: Path
) -> None:
    run, merged = tmp_path / "run", tmp_path / "merged"
    assert call(*tune(shouting, pairs_file, run, "--lora", *kept)).exit_code == 0
    assert call("merge", "--model", run, "--output", merged).exit_code == 0
    assert completion(merged) == completion(merged, *kept)
    assert completion(merged) == completion(run)
    config = EvaluationConfig.of(model=str(merged), data=str(pairs_file))
    assert config.model.chat_choice == TrainConfig.read(run / "config.yaml").model.chat_choice
    overridden = EvaluationConfig.of(model=str(merged), data=str(pairs_file), chat="on", chat_template_kwargs={})
    assert overridden.model.chat_choice == ChatChoice("on")
    (merged / "chat.json").write_text("{")
    assert "is damaged" in error_of("generate", "--model", merged, "--prompt", "Who?")
