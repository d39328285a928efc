"""`~` is the home folder in every setting and option that may be a path."""

from pathlib import Path
from typing import Any, get_origin

import pytest
import rich_click as click
from hypothesis import given
from hypothesis import strategies as st

from preftune.cli.main import preftune
from preftune.cli.options import Place
from preftune.settings import SETTINGS, TrainConfig
from preftune.settings.config import build_section, expanded, names_of
from preftune.settings.data_commands import CheckChoice, CheckResult, CleaningRules, ConversionSettings, RowsFile
from preftune.settings.evaluation_config import SECTIONS as EVALUATION
from preftune.settings.evaluation_config import EvaluationConfig
from preftune.settings.setting import Section, Setting, settings_of
from preftune.settings.sweep_sections import SweepSettings
from preftune.settings.train_config import SECTIONS as TRAINING
from tests.cli.command_line import call, tune

DATA_COMMANDS = (CheckChoice, CheckResult, CleaningRules, ConversionSettings, RowsFile)
ALL = [
    (section, item)
    for section in (*TRAINING.values(), *EVALUATION.values(), SweepSettings, *DATA_COMMANDS)
    for item in settings_of(section)
]
PATHS = [(section, item) for section, item in ALL if item.is_path]
WORDS = {"path", "file", "files", "folder", "model", "folders", "judge"}
"""Words in the help of settings that may be paths."""
NO_PATHS = {"revision", "split", "run_name", "metric"}


def of_kind(item: Setting, text: str) -> Any:
    return [text] if get_origin(item.type) is list else text


@pytest.mark.parametrize(("section", "item"), PATHS, ids=[f"{section.__name__}-{item.name}" for section, item in PATHS])
def test_every_setting_that_may_be_a_path_is_expanded(
    section: type[Section], item: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    needed = {other.name: of_kind(other, "x") for other in settings_of(section) if "MISSING" in repr(other.default)}
    kind = "reward:" if item.name in ("judge", "reward") else ""
    settings: dict[str, Any] = {**needed, item.name: of_kind(item, f"{kind}~/there.jsonl")}
    if section is SweepSettings:
        settings["over"] = ["beta=1,2"]
    if item.name in ("judge_prompt", "against"):
        settings["judge"] = "openai:gpt"
    problems: list[str] = []
    built = build_section(section, settings, problems)
    assert problems == []
    assert getattr(built, item.name) == of_kind(item, f"{kind}/home/ada/there.jsonl")


def test_settings_whose_help_speaks_of_files_and_models_are_paths_or_known_not_to_be() -> None:
    for _, item in ALL:
        words = set(item.help.lower().replace(",", " ").replace(".", " ").replace(":", " ").split())
        if not item.is_path and words & WORDS and item.type in (str, str | None, list[str]):
            assert item.name in NO_PATHS, f"{item.name}: set is_path, or list it here"


def test_yaml_flags_and_python_give_one_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    given: dict[str, Any] = {"model": "~/m", "data": "~/d.jsonl", "output": "~/run", "chat_template": "~/t.jinja"}
    home = str(tmp_path)
    expected = {"model": f"{home}/m", "data": [f"{home}/d.jsonl"], "output": f"{home}/run"}
    (tmp_path / "c.yaml").write_text("".join(f"{name}: {value}\n" for name, value in given.items()))
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]
    printed = call("train", *flags, "--print-config").stdout
    from_yaml = call("train", "--config=~/c.yaml", "--print-config").stdout
    config = TrainConfig.of(**given)
    assert printed == from_yaml == config.to_yaml()
    assert expected.items() <= config.flat().items()
    assert config.model.chat_template == f"{home}/t.jinja"
    assert "~" not in "".join(str(config.flat()[name]) for name, item in SETTINGS.items() if item.is_path)


def test_a_run_lies_in_one_folder_and_is_found_again(
    model_folder: Path, pairs_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert (
        call(*tune(model_folder, pairs_file, Path("~/run"), "--max-steps", "2", "--eval-fraction", "0.3")).exit_code
        == 0
    )
    assert not (tmp_path / "~").exists()
    assert (tmp_path / "run" / "checkpoint-2").is_dir()
    assert (tmp_path / "run" / "report.html").is_file()
    assert EvaluationConfig.of(model="~/run").run is not None
    result = call("generate", "--model=~/run", "--prompt", "What", "--max-new-tokens", "2", "--output=~/found.jsonl")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "found.jsonl").is_file()
    assert call("report", "~/run", "--output=~/page.html").exit_code == 0
    assert (tmp_path / "page.html").is_file()
    assert call("check", "--html=~/check.html", "--json=~/check.json", str(pairs_file)).exit_code in (0, 1)
    assert (tmp_path / "check.html").is_file()


def test_options_that_name_files_expand_them() -> None:
    """Options that no setting declares: those with a placeholder of a file, folder, model or run."""
    context = click.Context(preftune)
    for name in preftune.list_commands(context):
        command = preftune.commands[name].make_context(name, ["--help"], resilient_parsing=True).command
        for param in command.params:
            is_place = (param.metavar or "").startswith(("FILE", "FOLDER", "MODEL"))
            if is_place and name != "report" and param.name not in {*SETTINGS, *names_of(DATA_COMMANDS), "config"}:
                assert isinstance(param.type, Place), f"{name}: {param.name}"


@given(st.text().filter(lambda text: not text.startswith("~") and ":~" not in text))
def test_all_other_texts_stay_as_they_are(text: str) -> None:
    assert expanded(text) == text
